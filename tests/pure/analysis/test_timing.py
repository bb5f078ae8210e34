"""Latency and ratios of round medians."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.timing import describe_latency, latency, round_medians, time_ratio


def test_percentiles() -> None:
    durations = np.arange(1, 101)
    found = latency(np.repeat([0, 1], 50), durations, batch=2)
    assert found is not None
    assert (found.samples, found.rounds, found.p50_ns, found.min_ns) == (100, 2, 50.5, 1.0)
    assert (found.p90_ns, found.p99_ns) == pytest.approx((90.1, 99.01))
    assert found.per_second == pytest.approx(2e9 / 50.5)


def test_a_cell_without_samples_has_no_latency() -> None:
    found = latency(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    assert found is None
    assert set(describe_latency(found).values()) == {None}


def test_round_medians() -> None:
    found = round_medians(np.array([0, 0, 0, 2, 2]), np.array([1, 9, 2, 4, 6]))
    assert found == {0: 2.0, 2: 5.0}


def test_ratio_is_b_over_a_with_a_t_interval_on_the_log() -> None:
    a = {r: 100.0 + r for r in range(15)}
    b = {r: (200.0 + 2 * r) * (1 + 0.01 * (-1) ** r) for r in range(15)}
    found = time_ratio(a, b)
    logs = [math.log(b[r] / a[r]) for r in range(15)]
    low, high = stats.t.interval(0.95, 14, np.mean(logs), stats.sem(logs))
    assert found is not None
    assert found.ratio == pytest.approx(math.exp(np.mean(logs)))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert (found.rounds, found.notes) == (15, ())


def test_a_drift_common_to_both_cancels_because_rounds_are_paired() -> None:
    a = {r: 100.0 * 1.2**r for r in range(15)}
    b = {r: 150.0 * 1.2**r for r in range(15)}
    found = time_ratio(a, b)
    assert found is not None
    assert (found.ratio, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_few_rounds_are_noted_and_one_round_has_no_interval() -> None:
    found = time_ratio({0: 10.0}, {0: 20.0})
    assert found is not None
    assert (found.ratio, found.low, found.high) == (pytest.approx(2.0), None, None)
    assert "fewer than 15" in found.notes[0]


def test_no_common_round_gives_no_ratio() -> None:
    assert time_ratio({0: 10.0}, {1: 20.0}) is None
