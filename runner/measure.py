"""Warm-up, rounds and clocks. Only the backend's run call is inside the clock."""

from __future__ import annotations

import gc
import statistics
import time
from array import array
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

WINDOW_NS = 100_000_000
"""A window of the warm-up lasts at least so long: a tenth of a second, in which clocks are raised,
pages are touched and caches are filled many times over."""

WINDOW_RUNS = 10_000
"""Or holds so many runs, of a model that takes less than ten microseconds."""

WINDOWS = 3
TOLERANCE = 0.05
"""What the medians of so many windows may differ by, as a share of the least."""

Run = Callable[[np.ndarray], List[np.ndarray]]


class Round(NamedTuple):
    """What a round gave: nanoseconds of each run, and what the last of them answered to what."""

    durations_ns: List[int]
    outputs: List[np.ndarray]
    feed: int
    """The place of the last run's input among the feeds."""


def is_steady(medians: Sequence[float]) -> bool:
    """Whether the running median is steady: those of the last three windows agree within 5 %.

    Windows are of time and not of runs, so that a fast model is looked at for as long as a slow
    one, and three in a row show a drift that two next to each other would not. That a warm-up ends
    by a rule over its own last times, and not after a fixed number, is after Georges, Buytaert and
    Eeckhout, "Statistically rigorous Java performance evaluation" (OOPSLA 2007); that the largest
    of the last three windows is held against the least, after NVIDIA's Perf Analyzer
    (`--stability-percentage`, 10 % unless told otherwise). Medians, because one pause of a busy
    machine says nothing about the model.
    """
    last = medians[-WINDOWS:]
    return len(last) == WINDOWS and max(last) <= (1 + TOLERANCE) * min(last)


def warm_up(
    run: Run,
    feeds: Sequence[np.ndarray],
    min_iterations: int,
    max_iterations: int,
    max_duration_ns: int,
) -> Tuple[List[int], bool]:
    """Run until steady: durations in nanoseconds, and whether they became steady.

    At least once and `min_iterations`; then it stops when steady, after `max_iterations`, or once
    `max_duration_ns` have passed.
    """
    clock = time.perf_counter_ns
    durations = array("q")
    medians: List[float] = []
    done = first = 0
    with collected():
        started = window_began = clock()
        for feed in cycle(feeds):
            before = clock()
            outputs = run(feed)
            now = clock()
            del outputs
            durations.append(now - before)
            done += 1
            if now - window_began >= WINDOW_NS or done - first >= WINDOW_RUNS:
                medians.append(statistics.median(durations[first:]))
                first, window_began = done, clock()
            if done >= min_iterations and (
                done >= max_iterations or now - started >= max_duration_ns or is_steady(medians)
            ):
                break
    return durations.tolist(), is_steady(medians)


def time_round(run: Run, feeds: Sequence[np.ndarray], iterations: int, warmup: int) -> Round:
    """Time `iterations` runs, after `warmup` runs that are not recorded."""
    # Its memory is there before the first run: a page that is touched first is a page fault.
    durations = array("q", [0]) * iterations
    with collected():
        for feed in islice(cycle(feeds), warmup):
            run(feed)
        outputs = _clocked(run, feeds, durations)
    return Round(durations.tolist(), outputs, (iterations - 1) % len(feeds))


def _clocked(run: Run, feeds: Sequence[np.ndarray], durations: array[int]) -> List[np.ndarray]:
    """Fill `durations` with a run's nanoseconds each; the outputs of the last one.

    What stands between the two clocks is all that a query costs beside the backend: a call. The
    outputs of the run before are freed before the clock starts, so the last ones cost nothing.
    """
    clock = time.perf_counter_ns
    outputs: List[np.ndarray] = []
    for index, feed in zip(range(len(durations)), cycle(feeds)):
        outputs = []
        started = clock()
        outputs = run(feed)
        ended = clock()
        durations[index] = ended - started
    return outputs


def settle() -> None:
    """Leave what is alive now out of every later collection of garbage.

    A framework brings a million objects, which would be gone through before each round.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def collected() -> Iterator[None]:
    """Collect garbage now and not again inside: a collection would fall into somebody's time."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
