"""The quick sweep's own data: what it must be good for, made from nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from harness.datasets.classes import load_synsets
from harness.datasets.inputs import PreparedInputs
from harness.datasets.layouts import discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import load_recipe
from harness.models import synthetic
from harness.models.checkpoint import Checkpoint, input_plan
from harness.models.inspect import inspect_model
from harness.models.quick_images import SIDE, Draws, draw_images
from harness.models.synthetic import QuickAssets, make_quick
from harness.progress import SilentProgress

SILENT = SilentProgress()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quick")


@pytest.fixture(scope="module")
def assets(folder: Path) -> QuickAssets:
    return make_quick(folder, SILENT)


@pytest.fixture(scope="module")
def inputs(assets: QuickAssets, folder: Path) -> PreparedInputs:
    dataset = discover(assets.images, load_synsets(assets.classes), assets.labels)
    file = inspect_model(assets.model)
    plan = input_plan(Checkpoint("quick", file, load_recipe(assets.recipe)))
    assert (plan.height, plan.width, plan.layout, plan.batch) == (128, 128, "NCHW", None)
    return prepare(dataset, load_recipe(assets.recipe), plan.height, plan.width, folder, SILENT, 1)


def test_the_pixels_are_the_middle_of_the_images_untouched(inputs: PreparedInputs) -> None:
    images, _ = draw_images(synthetic._SEED)
    edge = (SIDE - 128) // 2
    expected = images[:, edge : edge + 128, edge : edge + 128]
    assert np.array_equal(np.load(inputs.path), expected)
    assert inputs.excluded == ()
    assert inputs.classes is not None
    assert len(inputs.classes) == 16


def test_the_model_is_read_by_old_versions(assets: QuickAssets) -> None:
    file = inspect_model(assets.model)
    assert (file.opset, file.ir_version) == (17, 8)
    assert file.size_bytes < 20 << 20


def test_labels_spread_and_margins_reach_from_rounding_to_certainty(
    assets: QuickAssets, inputs: PreparedInputs
) -> None:
    logits = np.load(assets.model.with_name("exact_logits.npy"))
    assert logits.shape == (128, 16)
    predicted = logits.argmax(axis=1)
    assert len(set(predicted.tolist())) == 16
    assert 0.8 <= float((predicted == np.array(inputs.labels)).mean()) <= 0.95
    ordered = np.sort(logits, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    assert margins.min() < 5e-6
    assert np.median(margins) > 0.1
    assert margins.max() > 5
    for low, high in ((0, 1e-5), (1e-5, 1e-4), (1e-4, 1e-3), (1e-3, 1e-2), (1e-2, 1e-1)):
        assert ((margins >= low) & (margins < high)).sum() >= 3, (low, high)


def test_the_file_computes_what_was_fitted(assets: QuickAssets, inputs: PreparedInputs) -> None:
    rows = [5, 70, 110]
    x = np.load(inputs.path)[rows].astype(np.float32) / np.float32(127.5) - np.float32(1)
    evaluator = ReferenceEvaluator(str(assets.model))
    logits = evaluator.run(None, {"input": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})[0]
    exact = np.load(assets.model.with_name("exact_logits.npy"))[rows]
    assert np.abs(np.asarray(logits) - exact).max() < 1e-3


def test_a_second_call_finds_what_is_there_and_a_damaged_one_is_made_again(
    folder: Path, assets: QuickAssets, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = assets.model.stat().st_mtime_ns
    assert make_quick(folder, SILENT) == assets
    assert assets.model.stat().st_mtime_ns == made

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    (folder / "copy").mkdir()
    monkeypatch.setattr(synthetic, "draw_images", stop)
    with pytest.raises(KeyboardInterrupt):
        make_quick(folder / "copy", SILENT)
    assert [p for p in (folder / "copy").iterdir() if not p.name.endswith(".lock")] == []


def test_draws_are_what_they_always_were() -> None:
    assert Draws(1).integers(0, 1000, 5).tolist() == [511, 950, 144, 948, 311]
    assert Draws(1).uniform(2, 2).shape == (2, 2)
