"""Latency and throughput of a cell."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.timing import describe_latency, latency, round_medians


def test_percentiles_extremes_and_throughput() -> None:
    durations = np.arange(1, 101)
    found = latency(np.repeat([0, 1], 50), durations, batch=2)
    assert found is not None
    assert (found.samples, found.rounds, found.p50_ns) == (100, 2, 50.5)
    assert (found.min_ns, found.max_ns, found.batch) == (1.0, 100.0, 2)
    assert (found.p90_ns, found.p95_ns, found.p99_ns) == pytest.approx((90.1, 95.05, 99.01))
    assert found.std_ns == pytest.approx(29.0115, abs=1e-4)
    assert found.queries_per_second == pytest.approx(1e9 / 50.5)
    assert found.per_second == pytest.approx(2e9 / 50.5)


def test_every_measure_of_latency_is_in_the_document() -> None:
    found = describe_latency(latency(np.array([0]), np.array([7])))
    assert found == {
        **{f"latency_{name}_ns": 7.0 for name in ("p50", "p90", "p95", "p99")},
        **{f"latency_{name}_ns": 7.0 for name in ("mean", "min", "max")},
        "latency_std_ns": None,
    }


def test_a_cell_without_samples_has_no_latency() -> None:
    found = latency(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    assert found is None
    assert set(describe_latency(found).values()) == {None}


def test_times_of_nothing_have_no_throughput() -> None:
    found = latency(np.array([0, 0]), np.array([0, 0]))
    assert found is not None
    assert (found.p50_ns, found.queries_per_second, found.per_second) == (0.0, None, None)


def test_round_medians_are_divided_by_the_images_of_a_query() -> None:
    rounds, durations = np.array([0, 0, 0, 2, 2]), np.array([1, 9, 2, 4, 6])
    assert round_medians(rounds, durations) == {0: 2.0, 2: 5.0}
    assert round_medians(rounds, durations, images=4) == {0: 0.5, 2: 1.25}
