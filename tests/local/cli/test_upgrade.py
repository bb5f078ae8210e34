"""The upgrade question, on a model with 37 classes, two outputs, no labels, and array inputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.command import Harness
from support.small_model import write_inputs, write_model

OLD, NEW = "onnxruntime==1.25.1", "onnxruntime==1.31.1"


@pytest.fixture
def swept(harness: Harness, tmp_path: Path) -> Path:
    model = write_model(tmp_path / "small.onnx")
    inputs = write_inputs(tmp_path / "x.npy")
    done = harness(
        *("sweep", "--model", model, "--inputs", inputs, "--rounds", 4),
        *("--env", OLD, "--env", NEW, "--json"),
    )
    assert done.status == 0, done.err
    result = done.json
    assert [c["environment"] for c in result["cells"]] == ["onnxruntime-1.25.1", "onnxruntime-1.31"]
    assert all(c["images"] == 200 and c["top1"] is None for c in result["cells"])
    assert result["failures"] == []
    return tmp_path / "results"


def test_an_upgrade_that_changes_nothing_passes(harness: Harness, swept: Path) -> None:
    done = harness(
        *("compare", "--baseline", OLD, "--candidate", NEW),
        *("--fail-on", "flips > 0.1%", "--fail-on", "max_abs_diff > 1e-3", "--json"),
    )
    assert done.status == 0, done.err
    assert swept.is_dir()
    [pair] = done.json["pairs"]
    assert pair["flips"] == 0


def test_an_upgrade_that_changes_labels_fails_and_lists_the_images(
    harness: Harness, swept: Path
) -> None:
    """The candidate's committed answers are moved, as a broken version would have moved them."""
    [cell] = [
        path.parent
        for path in swept.glob("answers/*/*/cell.json")
        if json.loads(path.read_text())["environment"] == "onnxruntime-1.31"
    ]
    scores = np.load(cell / "logits.npy")
    changed = [3, 77]
    scores[changed] = -scores[changed]
    np.save(cell / "logits.npy", scores)
    arguments = ("compare", "--baseline", OLD, "--candidate", NEW, "--fail-on", "flips > 0.1%")
    done = harness(*arguments, "--json")
    assert done.status == 1, done.err
    [pair] = done.json["pairs"]
    assert pair["flips"] == 2
    text = harness(*arguments)
    assert text.status == 1
    assert "row-00003" in text.out
    assert "row-00077" in text.out


def test_a_version_is_locked_once_and_kept(
    harness: Harness, swept: Path, surroundings: dict[str, str]
) -> None:
    kept = Path(surroundings["HARNESS_HOME"]) / "environments" / "onnxruntime-1.25.1"
    assert swept.is_dir()
    [lock] = kept.glob("requirements*.lock")
    assert "--hash=sha256:" in lock.read_text()
    listed = harness("env", "list", "--json").json["environments"]
    assert "onnxruntime-1.25.1" in {e["name"] for e in listed}


def test_the_same_sweep_again_runs_nothing(harness: Harness, swept: Path, tmp_path: Path) -> None:
    arguments = (
        *("sweep", "--model", tmp_path / "small.onnx", "--inputs", tmp_path / "x.npy"),
        *("--env", OLD, "--env", NEW, "--rounds", 4, "--json"),
    )
    # Times that were INVALID on a busy machine are taken once more, and then no more.
    assert harness(*arguments).status == 0
    before = sorted(swept.glob("sessions/*"))
    shutil.rmtree(swept / "reports", ignore_errors=True)
    done = harness(*arguments)
    assert done.status == 0, done.err
    assert {c["status"] for c in done.json["cells"]} == {"resumed"}
    assert sorted(swept.glob("sessions/*")) == before
