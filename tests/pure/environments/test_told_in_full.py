"""What a ready environment says of its converters, which nobody asked when it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.environments import provide
from harness.environments.environment import Base, image_environment_of
from harness.environments.folders import EnvironmentFolder
from harness.environments.provide import told_in_full
from harness.environments.provision import Provisioned

TOOL, OTHER = "onnx>onnx:tool", "onnx>torch"
DECLARED = f'[converters]\n"{TOOL}" = ["passes"]\n'
MADE = {"backends": {"onnxruntime": {"ok": True}}, "converters": {}}
ASKED = {"backends": {}, "converters": {TOOL: {"ok": True, "passes": {"all": ["fuse"]}}, OTHER: {}}}

Make = Callable[..., Provisioned]


@pytest.fixture
def made(make_folder: Callable[..., EnvironmentFolder]) -> Make:
    def make(extra: str = DECLARED, probe: Any = MADE) -> Provisioned:
        base = Base("local:bookworm", f"sha256:{'1' * 64}", "3.11", "local", "2.36")
        env = image_environment_of(make_folder(extra=extra), base, "2" * 64)
        return Provisioned(env, "/opt/env/bin/python", probe, {}, 1, 1.0)

    return make


def test_converters_that_it_declares_are_asked_for_and_no_others(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(provide, "probe", lambda *given: asked.append(given) or ASKED)
    found = told_in_full(made())
    assert found == {**MADE, "converters": {TOOL: ASKED["converters"][TOOL]}}
    assert asked == [("onnxruntime-9.9", "/opt/env/bin/python", None)]


def test_in_an_image_they_are_asked_for_in_a_container(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(provide, "probe_image", lambda *given: asked.append(given) or ASKED)
    monkeypatch.setattr(provide, "connect", lambda: "engine")
    found = told_in_full(replace(made(), image="sha256:3"))
    assert list(found["converters"]) == [TOOL]
    assert asked == [("engine", "onnxruntime-9.9", "sha256:3", "/opt/env/bin/python", None)]


@pytest.mark.parametrize(("extra", "probe"), [("", MADE), (DECLARED, ASKED)])
def test_one_that_has_none_or_has_told_already_is_not_asked_again(
    made: Make, monkeypatch: pytest.MonkeyPatch, extra: str, probe: Any
) -> None:
    monkeypatch.setattr(provide, "probe", lambda *_: pytest.fail("it was asked again"))
    assert told_in_full(made(extra, probe)) == probe
