"""A Docker context that a person chose is the engine to take, and no other in silence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.containers.engine import addresses, named_engine
from harness.errors import EngineError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def write_context(config: Path, name: str, text: str) -> None:
    folder = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(text)


def meta(name: str) -> str:
    endpoint = {"Host": "unix:///mine/docker.sock"}
    return json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}})


def test_without_a_choice_the_usual_places_are_looked_at(config: Path) -> None:
    assert named_engine() == ""
    assert "unix:///mine/docker.sock" not in addresses()


def test_a_chosen_context_leaves_no_other(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_context(config, "mine", meta("mine"))
    (config / "config.json").write_text('{"currentContext": "mine"}')
    assert addresses() == ["unix:///mine/docker.sock"]
    assert named_engine() == "The Docker context mine is chosen"
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    assert addresses() == ["unix:///other.sock"]


def test_the_variable_goes_before_the_configuration(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context(config, "mine", meta("mine"))
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    assert addresses() == ["unix:///mine/docker.sock"]


@pytest.mark.parametrize(
    ("text", "said"), [(None, "does not exist"), ("{", "cannot be read"), ("{}", "cannot be read")]
)
def test_a_chosen_context_that_is_broken_is_told(
    config: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, said: str
) -> None:
    if text is not None:
        write_context(config, "mine", text)
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    with pytest.raises(EngineError, match=f"The Docker context mine {said}") as caught:
        addresses()
    assert "docker context use default" in caught.value.remedy
