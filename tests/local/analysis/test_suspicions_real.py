"""Planted mistakes in the real models, run by ONNX Runtime in its environment.

The shipped profiles have seen these models and images: that they hold for others is shown by
`benchmarks/suspicions.py validate` (docs/suspicions.md), not here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from support.installed import cannot_install

from harness.analysis.suspicions import Evidence, suspect
from harness.datasets.classes import imagenet
from harness.datasets.decode import image_pixels
from harness.datasets.recipes import Geometry
from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "suspicions.py"
MODELS = {
    "mobilenet": "mobilenet_v2_1.0_224_tf.onnx:tf:1",
    "squeezenet": "squeezenet1.1_224.onnx:torch:0",
    "resnet50": "resnet50_v1_224_pruned.onnx:torch:0",
}
CONDITIONS = ("healthy", "bgr", "transposed", "unit-range", "raw")
IMAGES = 60

Logits = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Logits, Any]:
    """Logits [60, 1000] by model and condition, and labels [60]."""
    work = tmp_path_factory.mktemp("suspicions")
    files = sorted((real_data / "data/imagenet-sample/val").glob("*/*.JPEG"))[::8][:IMAGES]
    known = imagenet()
    labels = np.array([known.index_of(file.parent.name) for file in files])
    (work / "pixels").mkdir()
    plan = Geometry(224, 224, 256, 256, "bilinear")
    np.save(work / "pixels/base.npy", np.stack([image_pixels(f, plan) for f in files]))
    try:
        python = provision(resolve("onnxruntime-1.31"), SilentProgress()).python
    except HarnessError as error:
        cannot_install("onnxruntime-1.31", error)
    command = [str(python), str(BENCHMARK), "outputs", "--work", str(work)]
    for name, file in MODELS.items():
        command += ["--model", f"{name}={real_data / 'models' / file}"]
    for condition in CONDITIONS:
        command += ["--condition", condition]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    outputs = work / "outputs"
    made = {m: {c: np.load(outputs / m / f"{c}.npy") for c in CONDITIONS} for m in MODELS}
    return made, labels


def kinds(found: list[Any]) -> list[str]:
    return [suspicion.kind for suspicion in found]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("companion", [None, "resnet50", "mobilenet"])
def test_six_mistakes_are_named_and_healthy_cells_are_not(
    real: tuple[Logits, Any], model: str, companion: str | None, *, labelled: bool
) -> None:
    made, labels = real
    truth = labels if labelled else None
    logits = made[model]
    others = [(companion, Evidence(made[companion]["healthy"], labels=truth))] if companion else []

    def named(scores: Any, **more: Any) -> list[str]:
        return kinds(suspect(Evidence(scores, labels=truth, **more), others))

    healthy = logits["healthy"]
    assert named(healthy) == []
    assert named(softmax(healthy, axis=1), kind="probabilities") == []
    assert named(logits["bgr"]) == ["bgr"]
    assert named(logits["transposed"]) == ["sides-swapped"]
    assert named(logits["unit-range"]) == ["wrong-normalisation"]
    assert named(logits["raw"]) == ["wrong-normalisation"]
    assert named(np.roll(healthy, 1, axis=1)) == ["class-offset"]
    assert named(np.roll(healthy, -1, axis=1)) == ["class-offset"]
    assert named(softmax(softmax(healthy, axis=1), axis=1)) == ["double-softmax"]
    assert named(np.repeat(healthy[:1], IMAGES, axis=0)) == ["constant"]
    assert named(np.where(np.arange(IMAGES)[:, None] == 5, np.nan, healthy)) == ["nan-or-infinite"]
    hung = healthy.copy()
    hung[20:40] = hung[20]
    assert named(hung) == ["stuck"]


@pytest.mark.parametrize("model", MODELS)
def test_labels_by_counting_folders_are_named(real: tuple[Logits, Any], model: str) -> None:
    made, labels = real
    counted = np.searchsorted(np.unique(labels), labels)
    found = suspect(Evidence(made[model]["healthy"], labels=counted))
    assert kinds(found) == ["shuffled-labels"]


def test_an_accurate_companion_does_not_make_squeezenet_suspect(real: tuple[Logits, Any]) -> None:
    made, labels = real
    beside = [(m, Evidence(made[m]["healthy"], labels=labels)) for m in ("mobilenet", "resnet50")]
    cell = Evidence(made["squeezenet"]["healthy"], labels=labels)
    assert np.mean(cell.summary.label == labels) < 0.75
    assert suspect(cell, beside) == []


def test_a_broken_companion_does_not_make_a_healthy_cell_suspect(
    real: tuple[Logits, Any],
) -> None:
    made, labels = real
    for truth in (labels, None):
        broken = [(c, Evidence(made["mobilenet"][c], labels=truth)) for c in CONDITIONS[1:]]
        assert suspect(Evidence(made["resnet50"]["healthy"], labels=truth), broken) == []
        mine = [(c, Evidence(made["resnet50"][c], labels=truth)) for c in CONDITIONS[1:]]
        assert suspect(Evidence(made["resnet50"]["healthy"], labels=truth), mine) == []
