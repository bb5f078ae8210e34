"""Warm-up and rounds, with a run that takes as long as it is told."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from runner import measure


def feeds(count: int) -> list[np.ndarray]:
    return [np.full(1, index, np.float32) for index in range(count)]


def test_steady_compares_the_last_five_with_the_five_before() -> None:
    assert not measure.is_steady([100] * 9)
    assert measure.is_steady([100] * 10)
    assert measure.is_steady([100] * 5 + [105] * 5)
    assert not measure.is_steady([100] * 5 + [106] * 5)
    assert measure.is_steady([900, 100, 100, 100, 100, 100, 100, 100, 100, 900])


def test_a_round_cycles_through_the_inputs_and_does_not_record_its_warmup() -> None:
    seen: list[float] = []

    def run(batch: np.ndarray) -> list[np.ndarray]:
        seen.append(float(batch[0]))
        return [batch]

    durations = measure.time_round(run, feeds(3), iterations=5, warmup=2)
    assert len(durations) == 5
    assert all(isinstance(duration, int) and duration >= 0 for duration in durations)
    assert seen == [0, 1, 0, 1, 2, 0, 1]


def test_nothing_is_collected_inside_and_it_is_switched_on_again_after_an_error() -> None:
    states: list[bool] = []

    def run(batch: np.ndarray) -> list[np.ndarray]:
        states.append(gc.isenabled())
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        measure.time_round(run, feeds(1), iterations=1, warmup=0)
    assert states == [False]
    assert gc.isenabled()


def test_warmup_obeys_the_minimum_before_the_time() -> None:
    def run(batch: np.ndarray) -> list[np.ndarray]:
        return [batch]

    durations, steady = measure.warm_up(run, feeds(2), 4, 100, 0)
    assert len(durations) == 4
    assert steady is False


def test_resident_memory_is_a_plausible_number_of_mebibytes() -> None:
    assert 5 < measure.rss_mib() < 100_000
