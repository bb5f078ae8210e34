"""What the benchmarks of verdicts make of what a sweep says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import onnx
import pytest

from benchmarks import _pairs, busy_machine, false_verdicts, known_slowdowns
from benchmarks._common import Estimate


def said(low: float, high: float, verdict: str = "slower", floor: float = 0.01) -> _pairs.Said:
    estimate = Estimate((low * high) ** 0.5, low, high)
    return _pairs.Said(verdict, estimate, floor, valid=True, reasons=())


def at_most(count: int, of: int, share: float) -> float:
    """The probability of so many or fewer."""
    return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1))


def test_a_rate_has_its_clopper_pearson_interval() -> None:
    some = false_verdicts.rate(3, 200)
    assert some.ratio == 0.015
    # Its ends are where as many or more, and as many or fewer, have a probability of 2.5 %.
    assert 1 - at_most(2, 200, some.low) == pytest.approx(0.025)
    assert at_most(3, 200, some.high) == pytest.approx(0.025)
    none = false_verdicts.rate(0, 200)
    assert (none.ratio, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 200))


def test_scatter_counts_both_sides_alike() -> None:
    told = false_verdicts.scatter([1.0, 1.02, 1 / 1.02])
    assert told == "median 2.00% from 1, 95 % within 2.00%, all within 2.00%"


@pytest.mark.parametrize(
    ("low", "high", "meets"),
    [(1.02, 1.04, True), (1.035, 1.05, True), (1.05, 1.06, False), (1.0, 1.015, False)],
)
def test_an_interval_meets_the_truth_give_or_take_the_floor(
    low: float, high: float, *, meets: bool
) -> None:
    assert said(low, high).meets(Estimate(1.03, 1.03, 1.03)) is meets


def test_a_finding_is_right_where_side_and_size_are() -> None:
    truth = Estimate(0.6, 0.58, 0.62)
    assert known_slowdowns.Finding("x", said(0.57, 0.61, "faster"), truth).right
    assert not known_slowdowns.Finding("x", said(0.57, 0.61, "no-difference"), truth).right
    assert not known_slowdowns.Finding("x", said(0.75, 0.79, "faster"), truth).right


def test_a_verdict_is_told_with_its_reasons() -> None:
    reasons = (("drift", "It drifts."), ("drift", "It drifts too."))
    invalid = _pairs.Said("unknown", Estimate(1.2, 1.1, 1.3), 0.02, valid=False, reasons=reasons)
    assert str(invalid) == "unknown, 1.2000 (1.1000 to 1.3000), floor 2.0%, INVALID (drift)"


def test_the_quotient_of_two_estimates_has_the_errors_of_both() -> None:
    found = busy_machine.quotient(Estimate(1.2, 1.0, 1.44), Estimate(1.5, 1.5, 1.5))
    assert (found.ratio, found.low, found.high) == pytest.approx((0.8, 1 / 1.5, 0.96))


def test_rounds_and_cores_are_read_from_what_a_conductor_told(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert busy_machine.seen(events) == ([], 0)
    told = [
        {"event": "answered", "key": "a"},
        {"event": "timing", "state": "warm-up", "cores": [1]},
        {"event": "round", "done": 1, "total": 16},
        {"event": "round", "done": 2, "total": 16},
    ]
    lines = [json.dumps({"at_s": 1.5, "event": one}) for one in told]
    events.write_text("\n".join([*lines, '{"at_s": 2.0, "event": {"event": "round", "do']))
    assert busy_machine.seen(events) == ([1], 2)


def test_copies_of_a_model_differ_in_a_word_and_are_still_models(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TEST_DATA", str(real_data))
    document = json.loads(_pairs.sweep_of(_pairs.LEVELS, {"rounds": 16}, tmp_path, copies=2))
    models = [onnx.load(model["path"]) for model in document["models"]]
    assert [model.doc_string for model in models] == ["copy 0", "copy 1"]
    assert len(models[0].graph.node) == len(models[1].graph.node) > 20
    assert document["timing"] == {"rounds": 16}
