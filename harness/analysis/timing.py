"""Latency and throughput of one cell in one session. Pure.

Ratios between cells are in `time_ratio.py`, what may be said of them in `time_verdict.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SHOWN = ("p50", "p90", "p95", "p99", "mean", "min", "max", "std")


@dataclass(frozen=True)
class Latency:
    """How long one query took in one session; a query is one call of the backend.

    Percentiles interpolate linearly between samples (NumPy's default, Hyndman and Fan type 7).

    Attributes:
        samples: how many queries.
        rounds: how many rounds they come from.
        p50_ns: nanoseconds; so are the others up to `std_ns`.
        std_ns: with n - 1 in the denominator; None of a single query.
        queries_per_second: queries divided by the time that all of them took together; None where
            that is nothing.
        per_second: images a second: the same times the images a query.
        batch: images a query.
    """

    samples: int
    rounds: int
    p50_ns: float
    p90_ns: float
    p95_ns: float
    p99_ns: float
    mean_ns: float
    min_ns: float
    max_ns: float
    std_ns: float | None
    queries_per_second: float | None
    per_second: float | None
    batch: int = 1


def latency(rounds: Integers, durations_ns: Integers, batch: int = 1) -> Latency | None:
    """Summarise all samples of a cell in a session; None where there are none.

    Args:
        rounds: round of each sample, int [M].
        durations_ns: int [M].
        batch: images a query, for `per_second`.
    """
    values = np.asarray(durations_ns, dtype=np.float64)
    if values.size == 0:
        return None
    p50, p90, p95, p99 = (float(q) for q in np.percentile(values, [50, 90, 95, 99]))
    mean = float(values.mean())
    per_second = 1e9 / mean if mean > 0 else None
    return Latency(
        samples=int(values.size),
        rounds=len(np.unique(rounds)),
        p50_ns=p50,
        p90_ns=p90,
        p95_ns=p95,
        p99_ns=p99,
        mean_ns=mean,
        min_ns=float(values.min()),
        max_ns=float(values.max()),
        std_ns=float(values.std(ddof=1)) if values.size > 1 else None,
        queries_per_second=per_second,
        per_second=None if per_second is None else batch * per_second,
        batch=batch,
    )


def round_medians(rounds: Integers, durations_ns: Integers, images: int = 1) -> dict[int, float]:
    """Median duration of each round: the unit in which cells are compared.

    Single queries follow each other too closely to count as independent: a test over thousands of
    them finds a difference in nothing.

    Args:
        rounds: round of each sample, int [M].
        durations_ns: int [M].
        images: images a query, by which durations are divided.

    Returns:
        Nanoseconds an image, by round.
    """
    values = np.asarray(durations_ns, dtype=np.float64) / images
    numbers = np.asarray(rounds)
    return {int(r): float(np.median(values[numbers == r])) for r in np.unique(numbers)}


def describe_latency(found: Latency | None) -> dict[str, Any]:
    """The latency columns of a cell in JSON; None throughout where it was not timed."""
    return {f"latency_{n}_ns": getattr(found, f"{n}_ns") if found else None for n in _SHOWN}
