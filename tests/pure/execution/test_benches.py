"""Which environment prepares pixels, and what is said where none can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.containers.limits import Limits
from harness.environments.environment import Environment
from harness.environments.folders import EnvironmentFile, EnvironmentFolder
from harness.errors import ProvisionError, SpecError
from harness.execution import benches
from harness.execution.benches import Benches
from harness.execution.side_jobs import Bench
from harness.execution.stacks import Stacks
from harness.progress import SilentProgress

ENV = Environment("imaging", "imaging", "13.0", "cpu", (), (), {}, "3.11", "identity")


def folder(
    path: Path,
    preprocessors: Sequence[str],
    corruptions: Sequence[str] = (),
    version: str = "1.0",
    accelerator: str = "cpu",
) -> EnvironmentFolder:
    path.mkdir()
    (path / "requirements-3.11.lock").touch()
    document = {
        "stack": "imaging",
        "version": version,
        "package": "pillow",
        "python": ["3.11"],
        "accelerator": accelerator,
        "backends": {"b": ["onnx"]},
        "preprocessors": preprocessors,
        "corruptions": corruptions,
    }
    return EnvironmentFolder(path.name, path, EnvironmentFile.model_validate(document))


def made(monkeypatch: pytest.MonkeyPatch, *known: EnvironmentFolder) -> Benches:
    monkeypatch.setattr(benches, "folders", lambda: known)
    monkeypatch.setattr(benches, "resolve", lambda *_, **_2: ENV)
    return Benches(Stacks((), {}), Limits(pids=7), SilentProgress())


def test_who_offers_a_preprocessor_prepares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(monkeypatch, folder(tmp_path / "e", ["pillow", "opencv"], ["imagecorruptions"]))
    assert found.preprocessing("opencv") == Bench(ENV, None, Limits(pids=7))
    assert found.corrupting() == Bench(ENV, None, Limits(pids=7))


def test_a_preprocessor_that_nobody_offers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(monkeypatch, folder(tmp_path / "e", ["pillow", "opencv"]))
    with pytest.raises(SpecError) as told:
        found.preprocessing("opencw")
    expected = "no environment offers the preprocessor opencw; there are: opencv, pillow."
    assert expected in told.value.message
    assert told.value.remedy.startswith("Did you mean opencv? ")


def test_corruptions_that_nobody_makes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(monkeypatch, folder(tmp_path / "e", ["pillow"]))
    with pytest.raises(SpecError, match="no environment offers corruptions; there are: none"):
        found.corrupting()


def test_a_preprocessor_of_an_environment_that_may_not_be_taken_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(monkeypatch, folder(tmp_path / "gpu", ["dali"], accelerator="cuda"))
    with pytest.raises(SpecError, match="The preprocessor dali cannot be had: gpu would offer it"):
        found.preprocessing("dali")


def test_an_environment_that_cannot_be_made_here_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(monkeypatch, folder(tmp_path / "e", ["opencv"]))

    def fails(*_: object, **_2: object) -> Environment:
        raise ProvisionError("there is no Python 3.11")

    monkeypatch.setattr(benches, "resolve", fails)
    assert found.preprocessing("opencv") == (
        "e, which offers the preprocessor opencv, cannot be had: there is no Python 3.11"
    )
