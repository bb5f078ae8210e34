"""A worker that is a process: what it is started with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.execution.workers import ProcessWorker


def test_a_worker_gets_the_variables_asked_for_and_none_of_the_persons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_SECRET", "x")
    package = tmp_path / "fake" / "runner"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import json, os\n"
        "print(json.dumps({'event': 'seen', 'environment': dict(os.environ)}), flush=True)\n"
    )
    worker = ProcessWorker(
        Path(sys.executable),
        tmp_path / "fake",
        {"kind": "probe"},
        tmp_path / "work",
        tmp_path / "s",
        environment={"CUDA_VISIBLE_DEVICES": "GPU-1"},
    )
    seen = worker.event("seen", 240, lambda _: None)["environment"]
    worker.close()
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert seen["HOME"] == str(tmp_path / "work" / "home")
    assert "HARNESS_SECRET" not in seen
