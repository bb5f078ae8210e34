"""Weights, and files of Keras, become files of Keras, TensorFlow Lite and TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.environment_python import interpreter, run_inside

HERE = Path(__file__).parent
ALIGNED = {"padding": "symmetric", "batch_norm_epsilon": 1e-5}
NET = {"architecture": "mobilenet_v2", "variant": ALIGNED, "item_shape": [3, 65, 96], "batch": 2}
EFFICIENT = {"architecture": "efficientnet_b0", "item_shape": [3, 32, 32]}
JOBS = [
    ("keras", "weights>keras", "mobilenet_v2.npz", "net.keras", NET),
    ("lite", "weights>tflite", "mobilenet_v2.npz", "net.tflite", NET),
    ("graph", "weights>graphdef", "mobilenet_v2.npz", "net.pb", NET),
    ("two_lite", "keras>tflite", "two.keras", "two.tflite", {}),
    ("two_graph", "keras>graphdef", "two.keras", "two.pb", {}),
    ("own", "keras_weights>keras", "efficientnet.weights.h5", "efficientnet.keras", EFFICIENT),
    ("whole", "keras_weights>graphdef", "whole.h5", "whole.graph", EFFICIENT),
    ("other", "keras_weights>keras", "efficientnet.weights.h5", "other.keras", {**NET, "batch": 1}),
    ("more", "keras_weights>keras", "more.weights.h5", "more.keras", EFFICIENT),
    ("fewer", "keras_weights>keras", "fewer.weights.h5", "fewer.keras", EFFICIENT),
    ("wide", "keras_weights>keras", "wide.weights.h5", "wide.keras", EFFICIENT),
    ("trained", "keras_weights>keras", "trained.weights.h5", "trained.keras", EFFICIENT),
    (
        "named",
        "keras_weights>keras",
        "more.weights.h5",
        "no.keras",
        {**EFFICIENT, "library": "timm"},
    ),
    ("timm", "weights>keras", "mobilenet_v2.npz", "timm.keras", {**NET, "library": "timm"}),
    ("damaged", "weights>keras", "damaged.npz", "no.keras", NET),
    ("arrays", "keras_weights>keras", "mobilenet_v2.npz", "arrays.keras", EFFICIENT),
    (
        "no_fit",
        "weights>keras",
        "mobilenet_v2.npz",
        "no.keras",
        {"architecture": "efficientnet_b0"},
    ),
    ("unknown", "weights>keras", "mobilenet_v2.npz", "no.keras", {**NET, "variant": {"side": 1}}),
    ("fixed", "keras>tflite", "two.keras", "fixed.tflite", {"item_shape": [5]}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the arrays of a MobileNetV2 are, and all that was made of them."""
    made = tmp_path_factory.mktemp("conversions")
    run_inside("torch-2.13", HERE / "architectures_in_torch.py", made, "mobilenet_v2")
    (made / "jobs.json").write_text(json.dumps(JOBS))
    run_inside("tensorflow-2.21", HERE / "weights_conversions.py", made)
    return made


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, Any]:
    """What was converted, or the error, by name."""
    found: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return found


def test_each_file_answers_as_the_keras_model_that_it_was_made_of(done: dict[str, Any]) -> None:
    for name in ("keras", "lite", "graph", "two_lite", "two_graph", "own", "trained", "timm"):
        assert done[name].get("kind") is None, done[name]
        assert 0 <= done[name]["probe_max_abs_diff"] < 1e-4, name
    assert done["keras"]["probe_max_abs_diff"] == done["own"]["probe_max_abs_diff"] == 0
    assert done["keras"]["versions"]["keras"].startswith("3.")


def test_weights_are_fed_channels_first_and_a_keras_file_as_it_is(done: dict[str, Any]) -> None:
    for name in ("keras", "lite", "graph", "own", "timm"):
        assert done[name]["input_axes"] == [0, 2, 3, 1]
    assert done["two_lite"]["input_axes"] is None


def test_a_graph_says_by_itself_what_it_takes_and_gives(done: dict[str, Any]) -> None:
    assert done["net.pb"] == [["input:0", [None, 65, 96, 3]], ["output_0:0", [None, 11]]]
    names, shapes = zip(*done["two.pb"], strict=True)
    assert names == ("input:0", "output_0:0", "output_1:0")
    assert shapes == ([None, 4], [None, 3], [None, 2])


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("whole", "model", "whole model and not the weights of one"),
        ("other", "model", "does not fit Keras's MobileNetV2 with 5 classes"),
        ("more", "model", "2 unexpected: conv2d_999/vars/0, dense_0/vars/0"),
        ("fewer", "model", "1 missing: conv2d_7/vars/0"),
        ("wide", "model", "1 of another shape: conv2d_7/vars/0 [1, 2] instead of [1, 1, "),
        ("named", "unsupported", "the option library is for PyTorch's names"),
        ("damaged", "model", "its weights are damaged or make no sense"),
        ("arrays", "model", "is no HDF5 file"),
        ("no_fit", "model", "the weights do not fit efficientnet_b0"),
        ("unknown", "unsupported", "mobilenet_v2 has no variant 'side'; it has: padding"),
        ("fixed", "unsupported", "takes [None, 4] and [1, 5] was asked for"),
        ("unfed.pb", "unsupported", "has no placeholder"),
        ("variable.pb", "unsupported", "1 variables (kept) whose values are not in the file"),
        ("pair.pb", "unsupported", "takes 2 inputs (one, other)"),
        ("text.pb", "model", "is no frozen graph"),
        ("saved.pb", "model", "give its folder"),
    ],
)
def test_what_does_not_fit_is_refused(
    done: dict[str, Any], folder: Path, name: str, kind: str, words: str
) -> None:
    assert words in done[name]["message"]
    assert done[name]["kind"] == kind
    targets = {job: target for job, _, _, target, _ in JOBS}
    assert name not in targets or not (folder / targets[name]).exists()


def test_keras_own_efficientnet_is_normalised_as_it_was_trained(done: dict[str, Any]) -> None:
    wanted = (200 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert done["normalised"] == pytest.approx(wanted.tolist(), rel=1e-4)


@pytest.mark.parametrize("backend", ["tensorflow.graph", "tensorflow.xla"])
def test_a_frozen_graph_answers_as_pytorch_does(folder: Path, start: Any, backend: str) -> None:
    rows = np.load(folder / "mobilenet_v2.x.npy").transpose(0, 2, 3, 1)
    np.save(folder / "rows.npy", np.ascontiguousarray(rows))
    worker = start(
        python=interpreter("tensorflow-2.21"),
        backend=backend,
        model={"path": str(folder / "net.pb"), "format": "graphdef"},
        inputs={"kind": "array", "path": str(folder / "rows.npy"), "count": 2},
    )
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["input"]["shape"] == [None, 65, 96, 3]
    assert worker.command("answers")["ok"]
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    expected = np.load(folder / "mobilenet_v2.torch.npy")
    assert np.abs(worker.output() - expected).max() < 1e-4 * np.abs(expected).max()
