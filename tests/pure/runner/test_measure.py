"""Warm-up and rounds, with a run that takes as long as it is told by a clock that is made up."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from runner import measure
from runner.measure import WINDOW_NS, WINDOW_RUNS

Run = Callable[[np.ndarray], list[np.ndarray]]


def feeds(count: int) -> list[np.ndarray]:
    return [np.full(1, index, np.float32) for index in range(count)]


def echo(batch: np.ndarray) -> list[np.ndarray]:
    return [batch]


class Clock:
    """Time that passes only while a run lasts: `lasting` says how long each does."""

    def __init__(self, lasting: Callable[[int], int]) -> None:
        self.now, self.runs, self.lasting = 0, 0, lasting

    def __call__(self) -> int:
        return self.now

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        self.now += self.lasting(self.runs)
        self.runs += 1
        return [batch]


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], int]], Clock]:
    """A clock for runs that last as a function of their number says."""

    def make(duration: Callable[[int], int]) -> Clock:
        clock = Clock(duration)
        monkeypatch.setattr("time.perf_counter_ns", clock)
        return clock

    return make


MS = 1_000_000
SECOND = 1000 * MS


@pytest.mark.parametrize(
    ("medians", "steady"),
    [
        ([100, 100], False),
        ([100, 100, 100], True),
        ([105, 100, 103], True),
        ([100, 103, 106], False),
        ([106, 100, 100], False),
        ([900, 106, 100, 102, 104], True),
        ([100, 100, 100, 110], False),
    ],
)
def test_steady_is_three_windows_whose_medians_agree(medians: list[float], steady: bool) -> None:
    assert measure.is_steady(medians) is steady


def test_a_steady_model_is_warm_after_three_windows(
    lasting: Callable[[Callable[[int], int]], Clock],
) -> None:
    clock = lasting(lambda _: 10 * MS)
    durations, steady = measure.warm_up(clock.run, feeds(2), 3, 1000, 5 * SECOND)
    assert steady is True
    assert durations == [10 * MS] * (3 * WINDOW_NS // (10 * MS))


def test_a_model_that_becomes_faster_is_run_until_it_does_not(
    lasting: Callable[[Callable[[int], int]], Clock],
) -> None:
    # Each of the first hundred runs is a fiftieth faster than the one before: five times in all.
    clock = lasting(lambda run: round(20 * MS * 0.98 ** min(run, 100)))
    durations, steady = measure.warm_up(clock.run, feeds(2), 3, 10_000, 60 * SECOND)
    assert steady is True
    assert len(durations) > 100
    assert durations[-1] < 0.14 * durations[0]


def test_single_pauses_do_not_keep_a_model_from_being_steady(
    lasting: Callable[[Callable[[int], int]], Clock],
) -> None:
    clock = lasting(lambda run: 40 * MS if run % 7 == 6 else 5 * MS)
    durations, steady = measure.warm_up(clock.run, feeds(2), 3, 1000, 5 * SECOND)
    assert steady is True
    assert len(durations) < 70


def test_a_model_that_never_rests_is_given_up_after_the_time_and_is_not_steady(
    lasting: Callable[[Callable[[int], int]], Clock],
) -> None:
    clock = lasting(lambda run: 10 * MS * (1 + run // 10 % 2))
    durations, steady = measure.warm_up(clock.run, feeds(2), 3, 10_000, 2 * SECOND)
    assert steady is False
    assert 2 * SECOND <= sum(durations) < 2 * SECOND + 20 * MS


def test_a_model_of_long_runs_needs_three_of_them(
    lasting: Callable[[Callable[[int], int]], Clock],
) -> None:
    clock = lasting(lambda run: 900 * MS if run == 0 else 400 * MS)
    durations, steady = measure.warm_up(clock.run, feeds(2), 3, 1000, 5 * SECOND)
    assert (durations, steady) == ([900 * MS] + [400 * MS] * 3, True)


def test_a_model_of_nanoseconds_needs_three_windows_of_so_many_runs(
    lasting: Callable[[Callable[[int], int]], Clock],
) -> None:
    clock = lasting(lambda _: 100)
    durations, steady = measure.warm_up(clock.run, feeds(2), 3, 10**6, 5 * SECOND)
    assert (len(durations), steady) == (3 * WINDOW_RUNS, True)


@pytest.mark.parametrize(
    ("least", "most", "duration", "runs"), [(4, 100, 0, 4), (2, 6, SECOND, 6), (0, 9, 0, 1)]
)
def test_warmup_obeys_the_minimum_before_the_time_and_its_limits(
    least: int, most: int, duration: int, runs: int
) -> None:
    durations, steady = measure.warm_up(echo, feeds(2), least, most, duration)
    assert (len(durations), steady) == (runs, False)


def test_a_round_cycles_through_the_inputs_and_does_not_record_its_warmup() -> None:
    seen: list[float] = []

    def run(batch: np.ndarray) -> list[np.ndarray]:
        seen.append(float(batch[0]))
        return [batch]

    timed = measure.time_round(run, feeds(3), iterations=5, warmup=2)
    assert len(timed.durations_ns) == 5
    assert all(type(duration) is int and duration >= 0 for duration in timed.durations_ns)
    assert seen == [0, 1, 0, 1, 2, 0, 1]
    assert timed.feed == 1
    assert timed.outputs[0][0] == 1


def test_a_round_records_what_each_run_took(
    lasting: Callable[[Callable[[int], int]], Clock],
) -> None:
    clock = lasting(lambda run: 100 + run)
    timed = measure.time_round(clock.run, feeds(2), iterations=4, warmup=3)
    assert timed.durations_ns == [103, 104, 105, 106]


def test_outputs_are_gone_before_the_next_run_and_the_last_are_kept() -> None:
    alive: list[int] = []
    made: list[weakref.ref[np.ndarray]] = []

    def run(batch: np.ndarray) -> list[np.ndarray]:
        alive.append(sum(one() is not None for one in made))
        output = batch.copy()
        made.append(weakref.ref(output))
        return [output]

    timed = measure.time_round(run, feeds(4), iterations=4, warmup=2)
    assert alive == [0] * 6
    assert made[-1]() is timed.outputs[0]
    assert timed.outputs[0][0] == 3


def test_nothing_is_collected_inside_and_it_is_switched_on_again_after_an_error() -> None:
    states: list[bool] = []

    def run(batch: np.ndarray) -> list[np.ndarray]:
        states.append(gc.isenabled())
        raise ValueError("inside")

    for timed in (
        lambda: measure.time_round(run, feeds(1), iterations=1, warmup=0),
        lambda: measure.warm_up(run, feeds(1), 1, 1, 0),
    ):
        with pytest.raises(ValueError, match="inside"):
            timed()
        assert gc.isenabled()
    assert states == [False, False]


def test_what_is_alive_once_all_is_settled_is_gone_through_no_more() -> None:
    frozen = gc.get_freeze_count()
    try:
        measure.settle()
        assert gc.get_freeze_count() > frozen + 1000
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()
