"""The benchmarks' estimate and their last line."""

from __future__ import annotations

import json
import math
import random
import statistics
from pathlib import Path

import pytest

from benchmarks import _common
from benchmarks._common import Estimate, Report


def test_the_estimate_is_a_geometric_mean_with_students_interval() -> None:
    logs = [math.log(ratio) for ratio in (1.0, 1.1, 1.21)]
    found = _common.estimate(logs)
    # t of 97.5 % with two degrees of freedom is 4.30265 (any table of Student's distribution).
    half = 4.30265 * math.log(1.1) / math.sqrt(3)
    assert found.ratio == pytest.approx(1.1)
    assert found.low == pytest.approx(1.1 / math.exp(half), rel=1e-5)
    assert found.high == pytest.approx(1.1 * math.exp(half), rel=1e-5)


def test_an_interval_takes_two_rounds() -> None:
    with pytest.raises(ValueError, match="two rounds, not 1"):
        _common.estimate([0.1])


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = random.Random(7)
    held = statistics.fmean(
        found.low <= 2.0 <= found.high
        for found in (
            _common.estimate([draw.gauss(math.log(2.0), 0.3) for _ in range(15)])
            for _ in range(500)
        )
    )
    # 95 % of 500, with four standard deviations to either side.
    assert 0.91 <= held <= 0.99


def test_with_json_standard_output_is_one_line_with_five_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report("made_up", only_json=True)
    report.say("a table")
    report.end(Estimate(1.5, 1.25, 1.75), "this / that")
    told = capsys.readouterr()
    assert told.out.count("\n") == 1
    assert json.loads(told.out) == {
        "name": "made_up",
        "ratio": 1.5,
        "low": 1.25,
        "high": 1.75,
        "unit": "this / that",
    }
    assert "a table" in told.err


def test_without_json_a_person_reads_all_on_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report("made_up", only_json=False)
    report.say("a table")
    report.end(Estimate(1.5, 1.25, 1.75), "this / that")
    assert capsys.readouterr().out.splitlines() == [
        "a table",
        "made_up: 1.5000 (1.2500 to 1.7500), this / that",
    ]


def test_data_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_TEST_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="HARNESS_TEST_DATA"):
        _common.data("models/none.onnx")
