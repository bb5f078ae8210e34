"""One sweep as one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis import sweep_result as module
from harness.analysis.sweep_result import sweep_result
from harness.errors import StoreError


def times(millis: float) -> np.ndarray:
    return np.full((15, 4), int(millis * 1e6), dtype=np.int64)


def full(root: Path) -> tuple[StoreFactory, dict[str, str], dict[str, Any]]:
    factory = StoreFactory(root)
    x = logits(50, 8)
    labels = [int(c) for c in x.argmax(axis=1)]
    inputs = factory.inputs(50, labels, classes=list("abcdefgh"), excluded=[("bad.png", "cut")])
    keys = {
        "new": factory.cell(inputs, [flip_first(x, 2)], environment="onnxruntime-1.31"),
        "old": factory.cell(inputs, [x]),
        "int8": factory.cell(inputs, [flip_first(x, 5)], model="int8", kind="probabilities"),
        "again": factory.cell(inputs, [x], role="control", repeat=1),
    }
    factory.session(
        {keys["old"]: times(2), keys["new"]: times(1), keys["again"]: times(2)},
        control=keys["again"],
    )
    failed = {"key": "f" * 64, "model": "mobilenet", "environment": "torch-2.13"}
    factory.sweep(
        list(keys.values()),
        baseline=keys["old"],
        sessions=["session-1"],
        failed=[failed],
        failures=[{"key": "f" * 64, "kind": "timeout", "message": "took too long"}],
        skipped=[{"environment": "litert-2.3", "reason": "reads no onnx"}],
    )
    return factory, keys, sweep_result(root, "sweep-1")


def test_cells_have_accuracy_times_and_status(tmp_path: Path) -> None:
    _, keys, found = full(tmp_path)
    cells = {cell["key"]: cell for cell in found["cells"]}
    old = cells[keys["old"]]
    assert (old["top1"], old["top5"], old["images"], old["excluded"]) == (1.0, 1.0, 50, 1)
    assert (old["latency_p50_ns"], old["status"], old["settings"]) == (2_000_000, "done", {})
    assert cells[keys["new"]]["top1"] == pytest.approx(0.96)
    assert cells["f" * 64]["status"] == "failed"
    assert cells["f" * 64]["top1"] is None
    assert [c["key"] for c in found["controls"]] == [keys["again"]]
    for name in ("model", "environment", "backend", "executor", "device", "path"):
        assert old[name]


def test_pairs_start_from_the_baseline(tmp_path: Path) -> None:
    _, keys, found = full(tmp_path)
    pairs = {(p["a"], p["b"]): p for p in found["pairs"]}
    assert set(pairs) == {
        (keys["old"], keys["new"]),
        (keys["old"], keys["int8"]),
        (keys["int8"], keys["new"]),
    }
    pair = pairs[keys["old"], keys["new"]]
    assert (pair["flips"], pair["images"], pair["axes"]) == (2, 50, ["environment"])
    assert pair["time_ratio"] == pytest.approx(0.5)
    assert (pair["time_low"], pair["time_high"]) == pytest.approx((0.5, 0.5))
    assert [f["name"] for f in pair["flipped"]] == ["images/00000.png", "images/00001.png"]
    assert pair["flipped"][0]["label_name"] in "abcdefgh"
    assert pair["agreement"]["broke"] == 2


def test_models_are_compared_by_their_reference_cells(tmp_path: Path) -> None:
    _, keys, found = full(tmp_path)
    pair = next(p for p in found["pairs"] if {p["a"], p["b"]} == {keys["old"], keys["int8"]})
    assert pair["axes"] == ["model"]
    assert pair["flips"] == 5
    # Logits against probabilities: labels and rankings only.
    assert pair["max_abs_diff"] is None
    for name in ("kl", "max_abs_diff", "mean_abs_diff", "cosine", "margin_change"):
        assert pair["agreement"][name] is None
    assert pair["agreement"]["outputs"][0]["max_abs_diff"] is None
    assert "scores: not comparable (logits against probabilities)" in pair["agreement"]["notes"]
    assert pair["time_ratio"] is None  # never timed in one session


def test_the_control_shows_the_noise_floor(tmp_path: Path) -> None:
    _, keys, found = full(tmp_path)
    (noise,) = found["noise"]
    assert (noise["a"], noise["b"]) == (keys["old"], keys["again"])
    assert (noise["flips"], noise["identical"], noise["time_ratio"]) == (0, True, 1.0)


def test_what_failed_or_was_left_out_is_said(tmp_path: Path) -> None:
    _, _, found = full(tmp_path)
    assert found["failures"][0]["kind"] == "timeout"
    assert found["skipped"] == [{"environment": "litert-2.3", "reason": "reads no onnx"}]
    assert [e["name"] for e in found["excluded"]] == ["bad.png"]


def test_a_bundle_damaged_since_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    factory, keys, _ = full(tmp_path)
    factory.damage(keys["new"])
    found = sweep_result(tmp_path, "sweep-1")
    assert [p["key"] for p in found["problems"]] == [keys["new"]]
    assert len(found["pairs"]) == 1


def test_it_is_json(tmp_path: Path) -> None:
    _, _, found = full(tmp_path)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_long_lists_of_flips_are_cut_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLIPS_LISTED", 1)
    _, keys, found = full(tmp_path)
    pair = next(p for p in found["pairs"] if p["b"] == keys["new"] and p["a"] == keys["old"])
    assert (len(pair["flipped"]), pair["flipped_whole"], pair["flips"]) == (1, False, 2)


def test_other_images_make_no_pair(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    a = factory.cell(factory.inputs(5), [logits(5, 3)])
    b = factory.cell(factory.inputs(5, seed="x"), [logits(5, 3)], environment="b-1")
    factory.sweep([a, b])
    assert sweep_result(tmp_path, "sweep-1")["pairs"] == []


def test_cells_of_one_model_with_other_classes_are_a_problem(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(5)
    a = factory.cell(inputs, [logits(5, 1000)])
    b = factory.cell(inputs, [logits(5, 1001)], environment="b-1")
    factory.sweep([a, b])
    found = sweep_result(tmp_path, "sweep-1")
    assert found["pairs"] == []
    assert "1001" in found["problems"][0]["message"]


def test_a_sweep_without_scores_compares_values(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(5)
    x = logits(5, 3)
    a = factory.cell(inputs, [x, x], scores=None, kind="values")
    b = factory.cell(inputs, [x, x + 1], scores=None, kind="values", environment="b-1")
    factory.sweep([a, b])
    (pair,) = sweep_result(tmp_path, "sweep-1")["pairs"]
    assert (pair["flips"], pair["flip_share"]) == (None, None)
    assert pair["max_abs_diff"] == pytest.approx(1.0)


def test_an_unknown_sweep_is_refused_with_those_there_are(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    factory.sweep([factory.cell(factory.inputs(5), [logits(5, 3)])])
    with pytest.raises(StoreError, match="no sweep other") as caught:
        sweep_result(tmp_path, "other")
    assert "sweep-1" in caught.value.remedy


def test_a_sweep_where_everything_failed_is_still_an_object(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    failed = {"key": "f" * 64, "model": "m", "environment": "e", "backend": "b", "settings": {}}
    factory.sweep([], failed=[failed], failures=[{"key": "f" * 64, "kind": "x", "message": "y"}])
    found = sweep_result(tmp_path, "sweep-1")
    assert (len(found["cells"]), found["pairs"], found["noise"]) == (1, [], [])


def test_names_and_labels_are_those_of_the_sweep_and_not_of_the_first_run(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(8, 4)
    plain = factory.inputs(8)
    keys = [factory.cell(plain, [x], environment=f"e-{i}") for i in range(2)]
    factory.sweep(keys)
    labelled = factory.inputs(8, [int(c) for c in x.argmax(axis=1)], excluded=[("bad.png", "cut")])
    factory.sweep(keys, sweep_id="sweep-2", inputs_key=labelled)
    assert [c["top1"] for c in sweep_result(tmp_path, "sweep-1")["cells"]] == [None, None]
    found = sweep_result(tmp_path, "sweep-2")
    assert [(c["top1"], c["inputs_key"]) for c in found["cells"]] == [(1.0, labelled)] * 2
    assert found["pairs"][0]["agreement"]["labelled"] == 8
    assert [e["name"] for e in found["excluded"]] == ["bad.png"]


def test_problems_of_the_sweep_are_told(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(5), [logits(5, 3)])
    problem = {"key": key, "message": "could not be timed: the machine slept"}
    factory.sweep([key], problems=[problem])
    assert sweep_result(tmp_path, "sweep-1")["problems"] == [problem]
