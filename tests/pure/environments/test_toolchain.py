"""A virtual environment whose backends compile has this machine's compilers in its identity."""

from __future__ import annotations

import pytest

from harness.environments import environment
from harness.environments.environment import compilers, identity_of
from harness.environments.folders import read_folder
from harness.paths import shipped

TORCH = read_folder(shipped("images") / "torch-2.13")
ONNX = read_folder(shipped("images") / "onnxruntime-1.31")


def test_another_compiler_is_another_environment_where_one_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identities = []
    for version in ("12.2.0", "14.1.0"):
        monkeypatch.setattr(environment, "compilers", lambda v=version: {"c++": f"g++ {v}"})
        identities.append([identity_of(one, "0" * 64, "3.11.7") for one in (TORCH, ONNX)])
    assert identities[0][0] != identities[1][0]
    assert identities[0][1] == identities[1][1]


def test_a_machine_without_a_compiler_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert compilers.__wrapped__() == {}
