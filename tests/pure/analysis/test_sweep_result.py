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


def noisy(millis: float, seed: int, spread: float = 0.01) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(1, spread, (16, 4))
    return (millis * 1e6 * drawn).astype(np.int64)


VALID = {"valid": True, "reasons": []}


def timed_three(
    root: Path, **session: Any
) -> tuple[StoreFactory, list[str], dict[str, dict[str, Any]]]:
    """A reference, a cell as fast and one half as fast, and the control; pairs by their cell."""
    factory = StoreFactory(root)
    x, inputs = logits(9, 4), factory.inputs(9)
    keys = [factory.cell(inputs, [x], environment=f"e-{i}") for i in range(3)]
    keys.append(factory.cell(inputs, [x], environment="e-0", role="control", repeat=1))
    durations = {k: noisy(m, i) for i, (k, m) in enumerate(zip(keys, (1, 1, 2, 1), strict=True))}
    session.setdefault("validity", {"cells": dict.fromkeys(keys, VALID), "session": []})
    factory.session(durations, control=keys[3], **session)
    factory.sweep(keys)
    result = sweep_result(root, "sweep-1")
    json.dumps(result, allow_nan=False)
    against = [p for p in (*result["pairs"], *result["noise"]) if p["a"] == keys[0]]
    return factory, keys, {p["b"]: p for p in against}


def test_each_pair_has_a_verdict_over_its_family(tmp_path: Path) -> None:
    _, keys, _ = timed_three(tmp_path, floor=0.02)
    found = sweep_result(tmp_path, "sweep-1")
    pairs = {(p["a"], p["b"]): p["time_verdict"] for p in found["pairs"]}
    same, slow = pairs[keys[0], keys[1]], pairs[keys[0], keys[2]]
    assert (same["verdict"], slow["verdict"]) == ("no-difference", "slower")
    assert (same["family"], slow["p_holm"]) == (2, pytest.approx(2 * 2.0**-15))
    assert pairs[keys[1], keys[2]]["family"] == 1  # another first cell, another family
    assert (slow["valid"], slow["reasons"], slow["notes"]) == (True, [], [])
    assert 0.02 <= same["smallest_visible"] < 0.05
    for pair in found["pairs"]:
        verdict = pair["time_verdict"]
        assert (pair["time_ratio"], pair["time_low"]) == (verdict["ratio"], verdict["low"])
        assert pair["time_scenarios"]["single_stream"]["verdict"] == verdict


def test_the_floor_is_the_recorded_one_or_what_the_control_came_out_apart(tmp_path: Path) -> None:
    for floor in (0.0001, 0.5):
        root = tmp_path / str(floor)
        _, keys, pairs = timed_three(root, floor=floor)
        (noise,) = sweep_result(root, "sweep-1")["noise"]
        apart = max(noise["time_ratio"], 1 / noise["time_ratio"]) - 1
        assert apart > 0.0001
        assert pairs[keys[2]]["time_verdict"]["floor"] == pytest.approx(max(floor, apart))
        # A control cannot vouch for itself.
        assert noise["time_verdict"]["floor"] == floor
        assert (noise["time_verdict"]["family"], noise["time_verdict"]["verdict"]) == (
            1,
            "no-difference",
        )


def test_an_invalid_cell_spoils_its_own_pairs_and_a_bad_session_all(tmp_path: Path) -> None:
    drift = {"kind": "drift", "message": "it drifts"}
    _, keys, _ = timed_three(tmp_path / "good")  # cells of other stores have the same keys
    cells = {**dict.fromkeys(keys, VALID), keys[2]: {"valid": False, "reasons": [drift]}}
    validity = {"cells": cells, "session": []}
    _, keys, pairs = timed_three(tmp_path / "one", validity=validity)
    spoilt = pairs[keys[2]]["time_verdict"]
    assert (spoilt["verdict"], spoilt["valid"]) == ("unknown", False)
    assert spoilt["reasons"] == [{**drift, "key": keys[2]}]
    assert pairs[keys[1]]["time_verdict"]["verdict"] == "no-difference"
    shown = {c["key"]: c for c in sweep_result(tmp_path / "one", "sweep-1")["cells"]}
    assert [shown[k]["time_valid"] for k in keys[:3]] == [True, True, False]
    assert shown[keys[2]]["time_reasons"] == spoilt["reasons"]

    validity = {"cells": dict.fromkeys(keys, VALID), "session": [drift]}
    _, keys, pairs = timed_three(tmp_path / "all", validity=validity)
    for key in keys[1:]:
        assert pairs[key]["time_verdict"]["verdict"] == "unknown"
        assert pairs[key]["time_verdict"]["reasons"] == [{**drift, "key": None}]


def test_sessions_of_before_are_not_judged_and_keep_their_verdicts(tmp_path: Path) -> None:
    _, keys, pairs = timed_three(tmp_path, validity=None)
    verdict = pairs[keys[2]]["time_verdict"]
    assert (verdict["verdict"], verdict["valid"]) == ("slower", None)
    assert "before times were judged" in verdict["notes"][0]
    assert verdict["floor"] >= 0.01
    cell = sweep_result(tmp_path, "sweep-1")["cells"][0]
    assert (cell["time_valid"], cell["time_scenario"]) == (None, "single_stream")


def test_what_a_session_recorded_of_a_cell_is_shown(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(3), [logits(3, 4)])
    factory.session(
        {key: np.arange(1, 61).reshape(15, 4) * 1000},
        peak_rss_mib={key: 100.5},
        peak_container_mib={key: None},
        energy={key: {"absent": "no counter"}},
        stages={
            key: {
                "stages": {"compute": {"median_ns": 700, "samples_ns": [1, 2]}},
                "absent": {"host_to_device": "CPU"},
            }
        },
    )
    factory.sweep([key])
    (cell,) = sweep_result(tmp_path, "sweep-1")["cells"]
    assert (cell["latency_min_ns"], cell["latency_max_ns"]) == (1000, 60_000)
    assert cell["latency_p95_ns"] == pytest.approx(57_050)
    assert cell["queries_per_second"] == pytest.approx(1e9 / 30_500)
    assert (cell["peak_rss_mib"], cell["peak_container_mib"], cell["gpu_mib"]) == (
        100.5,
        None,
        None,
    )
    assert cell["energy"] == {"absent": "no counter"}
    assert cell["stages"] == {
        "median_ns": {"compute": 700.0},
        "absent": {"host_to_device": "CPU"},
        "failed": None,
    }


def test_offline_times_are_an_image_and_never_mixed_with_single_queries(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), logits(9, 4)
    a, b = (factory.cell(inputs, [x], environment=e) for e in ("e-1", "e-2"))
    factory.session({a: noisy(1, 0), b: noisy(2, 1)}, session_id="single")
    factory.session(
        {a: noisy(8, 2), b: noisy(8, 3)},
        session_id="offline",
        scenario="offline",
        batch={a: 4, b: 16},
        created="2026-02-01T00:00:00Z",
    )
    factory.sweep([a, b])
    found = sweep_result(tmp_path, "sweep-1")
    (pair,) = found["pairs"]
    assert (pair["time_scenario"], pair["time_session"]) == ("single_stream", "single")
    assert pair["time_ratio"] == pytest.approx(2, rel=0.02)
    offline = pair["time_scenarios"]["offline"]
    assert offline["ratio"] == pytest.approx(0.25, rel=0.02)
    assert (offline["verdict"]["verdict"], offline["session"]) == ("faster", "offline")
    assert offline["parity"]["percentages"][0]["value"] == pytest.approx(-75, abs=1)
    cells = {c["key"]: c for c in found["cells"]}
    assert cells[b]["latency_p50_ns"] == pytest.approx(2e6, rel=0.02)
    throughput = cells[b]["scenarios"]["offline"]
    assert (throughput["batch"], throughput["per_second"]) == (16, pytest.approx(2000, rel=0.02))


def test_offline_alone_has_throughput_and_no_latency(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(3), [logits(3, 4)])
    factory.session({key: noisy(8, 2)}, scenario="offline", batch={key: 4})
    factory.sweep([key])
    (cell,) = sweep_result(tmp_path, "sweep-1")["cells"]
    assert (cell["latency_p50_ns"], cell["time_scenario"]) == (None, "offline")
    assert cell["per_second"] == pytest.approx(500, rel=0.02)


def test_the_papers_measures_are_of_pairs_with_the_reference(tmp_path: Path) -> None:
    _, keys, _ = timed_three(tmp_path)
    pairs = {(p["a"], p["b"]): p for p in sweep_result(tmp_path, "sweep-1")["pairs"]}
    parity = pairs[keys[0], keys[2]]["time_parity"]
    assert parity["percentages"][0]["value"] == pytest.approx(100, abs=2)
    assert (parity["a12"], parity["a12_size"], parity["samples_a"]) == (1.0, "large", 64)
    assert pairs[keys[1], keys[2]]["time_parity"] is None


def test_a_pair_that_no_session_timed_is_unknown(tmp_path: Path) -> None:
    _, keys, found = full(tmp_path)
    pair = next(p for p in found["pairs"] if {p["a"], p["b"]} == {keys["old"], keys["int8"]})
    assert pair["time_verdict"]["verdict"] == "unknown"
    assert pair["time_verdict"]["reasons"][0]["kind"] == "not-timed"
    assert (pair["time_parity"], pair["time_scenarios"], pair["time_rounds"]) == (None, {}, 0)


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


@pytest.mark.parametrize(
    ("page", "said"), [("study.html", "Open {folder}/study.html."), (None, "the same command")]
)
def test_who_asks_for_a_study_is_told_where_its_page_is(
    tmp_path: Path, page: str | None, said: str
) -> None:
    folder = tmp_path / "studies" / "s-1"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text("{}", encoding="utf-8")
    if page:
        (folder / page).write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="s-1 is a study, not a sweep") as caught:
        sweep_result(tmp_path, "s-1")
    assert said.format(folder=folder) in caught.value.remedy
