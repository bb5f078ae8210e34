"""Warm-up, rounds and clocks. Only the backend's run call is inside the clock."""

from __future__ import annotations

import gc
import os
import resource
import statistics
import sys
import time
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Callable, Iterator, List, Sequence, Tuple

import numpy as np

_WINDOW = 5
_TOLERANCE = 0.05

Run = Callable[[np.ndarray], List[np.ndarray]]


def is_steady(durations_ns: Sequence[int]) -> bool:
    """Whether the median of the last five is within 5 % of the median of the five before them."""
    if len(durations_ns) < 2 * _WINDOW:
        return False
    last = statistics.median(durations_ns[-_WINDOW:])
    before = statistics.median(durations_ns[-2 * _WINDOW : -_WINDOW])
    return abs(last - before) <= _TOLERANCE * before


def warm_up(
    run: Run,
    feeds: Sequence[np.ndarray],
    min_iterations: int,
    max_iterations: int,
    max_duration_ns: int,
) -> Tuple[List[int], bool]:
    """Run until steady: durations in nanoseconds, and whether they became steady.

    At least `min_iterations`; then it stops when steady, after `max_iterations`, or once
    `max_duration_ns` have passed.
    """
    durations: List[int] = []
    started = time.perf_counter_ns()
    with collected():
        for feed in cycle(feeds):
            done = len(durations)
            if done >= min_iterations and (
                done >= max_iterations
                or time.perf_counter_ns() - started >= max_duration_ns
                or is_steady(durations)
            ):
                break
            durations.append(timed(run, feed))
    return durations, is_steady(durations)


def time_round(run: Run, feeds: Sequence[np.ndarray], iterations: int, warmup: int) -> List[int]:
    """Nanoseconds of each of `iterations` runs, after `warmup` runs that are not recorded."""
    with collected():
        for feed in islice(cycle(feeds), warmup):
            run(feed)
        return [timed(run, feed) for feed in islice(cycle(feeds), iterations)]


def timed(run: Run, feed: np.ndarray) -> int:
    """Nanoseconds of one run; its outputs are freed outside the clock."""
    started = time.perf_counter_ns()
    outputs = run(feed)
    duration = time.perf_counter_ns() - started
    del outputs
    return duration


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


def rss_mib() -> float:
    """Resident memory of this process now; where the kernel does not say, its largest so far."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest / (1024**2 if sys.platform == "darwin" else 1024)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2
