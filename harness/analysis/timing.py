"""Times of cells and ratios of pairs, from the rounds of one session. Pure.

The first form of the statistics: percentiles, round medians, and the ratio paired by round with a
t interval on its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

ROUNDS_WANTED = 15
"""Fewer rounds than this leave a ratio with a note."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Latency:
    """Latency of one query in one session; nanoseconds, and queries a second.

    Percentiles interpolate linearly between samples (NumPy's default, Hyndman and Fan type 7).
    """

    samples: int
    rounds: int
    p50_ns: float
    p90_ns: float
    p99_ns: float
    mean_ns: float
    min_ns: float
    std_ns: float | None
    per_second: float


@dataclass(frozen=True)
class TimeRatio:
    """How many times as long b takes as a: t_b / t_a.

    Attributes:
        ratio: geometric mean over rounds of (median of b's round) / (median of a's round).
        low: lower end of the t interval on the log ratio; None with fewer than two rounds.
        high: upper end, likewise.
        rounds: how many rounds both have.
        confidence: of the interval.
        notes: reasons to read it with care.
    """

    ratio: float
    low: float | None
    high: float | None
    rounds: int
    confidence: float = 0.95
    notes: tuple[str, ...] = ()


def latency(rounds: Integers, durations_ns: Integers, batch: int = 1) -> Latency | None:
    """Summarise all samples of a cell in a session; None where there are none.

    Args:
        rounds: round of each sample, int [M].
        durations_ns: int [M].
        batch: queries a sample, for `per_second`.
    """
    values = np.asarray(durations_ns, dtype=np.float64)
    if values.size == 0:
        return None
    p50, p90, p99 = (float(q) for q in np.percentile(values, [50, 90, 99]))
    mean = float(values.mean())
    return Latency(
        samples=int(values.size),
        rounds=len(np.unique(rounds)),
        p50_ns=p50,
        p90_ns=p90,
        p99_ns=p99,
        mean_ns=mean,
        min_ns=float(values.min()),
        std_ns=float(values.std(ddof=1)) if values.size > 1 else None,
        per_second=batch * 1e9 / mean if mean > 0 else math.inf,
    )


def round_medians(rounds: Integers, durations_ns: Integers) -> dict[int, float]:
    """Median duration (ns) of each round."""
    values = np.asarray(durations_ns, dtype=np.float64)
    numbers = np.asarray(rounds)
    return {int(r): float(np.median(values[numbers == r])) for r in np.unique(numbers)}


def time_ratio(
    a: Mapping[int, float], b: Mapping[int, float], confidence: float = 0.95
) -> TimeRatio | None:
    """The ratio t_b / t_a of round medians, paired by round.

    Args:
        a: round medians (ns) of the reference, by round.
        b: round medians (ns) of the other, from the same session.
        confidence: of the t interval on the mean log ratio.

    Returns:
        None where no round is shared or a median is not positive.
    """
    shared = sorted(set(a) & set(b))
    if not shared or any(x[r] <= 0 for x in (a, b) for r in shared):
        return None
    logs = np.array([math.log(b[r] / a[r]) for r in shared])
    mean = float(logs.mean())
    notes = []
    if len(shared) < ROUNDS_WANTED:
        notes.append(f"{len(shared)} rounds, fewer than {ROUNDS_WANTED}")
    low = high = None
    if len(shared) > 1:
        error = float(logs.std(ddof=1)) / math.sqrt(len(shared))
        reach = float(stats.t.ppf((1 + confidence) / 2, len(shared) - 1)) * error
        low, high = math.exp(mean - reach), math.exp(mean + reach)
    return TimeRatio(math.exp(mean), low, high, len(shared), confidence, tuple(notes))


def describe_latency(found: Latency | None) -> dict[str, Any]:
    """The latency columns of a cell in JSON; None throughout where it was not timed."""
    names = ("p50_ns", "p90_ns", "p99_ns", "mean_ns")
    return {f"latency_{name}": getattr(found, name) if found else None for name in names}
