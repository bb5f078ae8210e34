"""Whatever stage a backend fails at, it is closed once, and its own failure is what is told."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner import backends, worker
from runner.backends.base import Description, TensorSpec
from runner.errors import RunnerError
from runner.jobs import InferJob, Inputs


class Failing:
    """A backend that doubles its input, and fails at a stage."""

    def __init__(self, stage: str, *, closes: bool = True) -> None:
        self._stage, self._closes = stage, closes
        self.closed = 0

    def _at(self, stage: str) -> None:
        if stage == self._stage:
            raise RunnerError("model", f"{stage} failed")

    def load(self) -> None:
        self._at("load")

    def compile(self) -> None:
        self._at("compile")

    def describe(self) -> Description:
        self._at("describe")
        size = 3 if self._stage == "check" else 2
        return Description(TensorSpec("x", "float32", (None, size)), (SPEC,), {})

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        self._at("run")
        return [] if self._stage == "outputs" else [2 * batch]

    def prove(self, batch: np.ndarray) -> dict[str, Any]:  # noqa: ARG002
        self._at("prove")
        return {}

    def close(self) -> None:
        self.closed += 1
        if not self._closes:
            raise OSError("close failed too")


SPEC = TensorSpec("y", "float32", (None, 2))


def serve(backend: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do a job without commands with a backend."""
    monkeypatch.setattr(backends, "create", lambda *_: backend)
    np.save(tmp_path / "x.npy", np.ones((1, 2), np.float32))
    inputs = Inputs("array", str(tmp_path / "x.npy"), 1)
    job = InferJob(str(tmp_path), "toy", "m.onnx", "onnx", inputs, commands=())
    events: Any = SimpleNamespace(emit=lambda *_, **__: None)
    try:
        worker.serve(job, events)
    finally:
        # In this process there are others who want their garbage collected.
        gc.unfreeze()


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        *((stage, f"{stage} failed") for stage in ("load", "compile", "describe", "run", "prove")),
        ("check", "shape"),
        ("outputs", "gave 0 outputs"),
    ],
)
def test_a_backend_that_fails_is_closed(
    stage: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Failing(stage)
    with pytest.raises(RunnerError, match=words):
        serve(backend, tmp_path, monkeypatch)
    assert backend.closed == 1


def test_one_that_does_not_fail_is_closed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Failing("never")
    serve(backend, tmp_path, monkeypatch)
    assert backend.closed == 1


def test_a_failure_to_close_does_not_hide_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunnerError, match="compile failed"):
        serve(Failing("compile", closes=False), tmp_path, monkeypatch)
    assert "closing the backend failed as well: OSError" in capsys.readouterr().out
