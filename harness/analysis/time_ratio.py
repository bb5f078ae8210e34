"""The ratio of two cells' times, its interval, its test, and Holm's correction. Pure.

The unit is the round's median. Both cells are timed in every round, so each round gives one log
ratio, and whatever slows the machine down for a while falls on both.

The interval is Student's t on the mean log ratio, widened where rounds resemble their neighbours.
A BCa bootstrap was weighed against it by simulation, at 16 rounds and 95 %: over equal cells it
held the truth in 93 % of normal rounds, in 88 % with heavy tails (t, three degrees) and in 80 %
with a third of the rounds disturbed, where t held it in 95 % or more. Resampling 16 values cannot
show tails that are not among them.

Where rounds are autocorrelated, widening mends most and not all: 16 rounds hold the truth in 93,
90 and 81 % where neighbours are alike by 0.3, 0.5 and 0.8 (30 rounds: 93, 92 and 86 %). So few
rounds show too little of their own autocorrelation. What differs between processes for as long as
they live is in no interval, unless each round has processes of its own: it is what the floor is for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from harness.analysis.timing import Floats

ROUNDS_WANTED = 15
"""Fewer rounds than this leave a ratio with a note."""

EXACT_ROUNDS = 16
"""Up to so many rounds every way of flipping signs is tried: 2^16."""

DRAWS = 20_000
"""With more rounds, so many seeded draws."""

MOST_ALIKE = 0.9
"""The largest autocorrelation that is believed: beyond, the interval would grow without end."""

_ROUNDS_FOR_AUTOCORRELATION = 8
_WORTH_A_NOTE = 2.0
# Spreads below this are rounding.
_SPREADLESS = 1e-12


@dataclass(frozen=True)
class TimeRatio:
    """How many times as long b takes as a: t_b / t_a.

    Attributes:
        ratio: geometric mean over rounds of (median of b's round) / (median of a's round).
        low: lower end of the interval; None with fewer than two rounds.
        high: upper end, likewise.
        rounds: how many rounds both have.
        confidence: of the interval.
        notes: reasons to read it with care.
        p: two-sided p-value of the sign-flip test against a ratio of 1; None as `low`. It takes
            rounds for independent: what they share is in the interval alone, so neither makes a
            claim without the other.
        error: standard error of the mean log ratio, widened as the interval is; None as `low`.
    """

    ratio: float
    low: float | None
    high: float | None
    rounds: int
    confidence: float = 0.95
    notes: tuple[str, ...] = ()
    p: float | None = None
    error: float | None = None

    @property
    def apart(self) -> float:
        """How far the ratio is from 1, whichever side: 0.25 for 1.25 and for 0.8."""
        return math.expm1(abs(math.log(self.ratio)))


def time_ratio(
    a: Mapping[int, float], b: Mapping[int, float], confidence: float = 0.95
) -> TimeRatio | None:
    """The ratio t_b / t_a of round medians, paired by round.

    Args:
        a: round medians (ns an image) of the reference, by round.
        b: round medians (ns an image) of the other, from the same session.
        confidence: of the t interval on the mean log ratio.

    Returns:
        None where no round is shared or a median is not positive.
    """
    shared = sorted(set(a) & set(b))
    if not shared or any(x[r] <= 0 for x in (a, b) for r in shared):
        return None
    logs = np.array([math.log(b[r] / a[r]) for r in shared])
    mean, rounds = float(logs.mean()), len(shared)
    notes = []
    if rounds < ROUNDS_WANTED:
        notes.append(f"{rounds} round{'s' * (rounds > 1)}, fewer than {ROUNDS_WANTED}")
    if rounds < 2:
        return TimeRatio(math.exp(mean), None, None, rounds, confidence, tuple(notes))
    wider = widening(logs)
    if wider >= _WORTH_A_NOTE:
        notes.append(
            f"rounds resemble their neighbours, so the interval is {wider:.1f} times as wide"
        )
    error = wider * float(logs.std(ddof=1)) / math.sqrt(rounds)
    reach = float(stats.t.ppf((1 + confidence) / 2, rounds - 1)) * error
    return TimeRatio(
        ratio=math.exp(mean),
        low=math.exp(mean - reach),
        high=math.exp(mean + reach),
        rounds=rounds,
        confidence=confidence,
        notes=tuple(notes),
        p=sign_flip_p(logs),
        error=error,
    )


def widening(logs: Floats) -> float:
    """By how much the error of the mean grows because rounds resemble their neighbours.

    sqrt((1 + r) / (1 - r)), the factor for a first-order autoregressive series, with r its
    autocorrelation at lag 1 freed from the bias of short series ((r + 1/n) / (1 - 3/n); Kendall
    1954, Marriott and Pope 1954) and held between 0 and `MOST_ALIKE`. Never less than 1: what
    alternates is not rewarded. Below eight rounds nothing can be told, and the factor is 1.

    Args:
        logs: log ratios in the order of their rounds, float64 [n].
    """
    count = len(logs)
    rest = logs - logs.mean()
    total = float((rest**2).sum())
    if count < _ROUNDS_FOR_AUTOCORRELATION or total <= count * _SPREADLESS**2:
        return 1.0
    found = float((rest[1:] * rest[:-1]).sum()) / total
    alike = min(MOST_ALIKE, max(0.0, (found + 1 / count) / (1 - 3 / count)))
    return math.sqrt((1 + alike) / (1 - alike))


def sign_flip_p(logs: Floats) -> float:
    """Two-sided p-value of the sign-flip permutation test on the mean (Fisher 1935, section 21).

    Were a and b the same, each round's log ratio could as well have had the other sign. The
    p-value is the share of all such worlds whose mean is at least as far from 0. Exact up to
    `EXACT_ROUNDS` rounds; else from `DRAWS` seeded worlds and the one that was seen.

    Args:
        logs: log ratios, float64 [n].
    """
    values = np.asarray(logs, dtype=np.float64)
    # Rounding must not decide between worlds that are equal.
    limit = abs(float(values.sum())) - 1e-9 * float(np.abs(values).sum())
    if len(values) <= EXACT_ROUNDS:
        return float((np.abs(_all_sums(values)) >= limit).mean())
    as_far = np.abs(_signs(len(values)) @ values) >= limit
    return (1 + int(as_far.sum())) / (1 + DRAWS)


def _all_sums(values: Floats) -> Floats:
    """The sums under all signs of all but the first value: the mirrored half is as far from 0."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


@lru_cache(maxsize=4)
def _signs(count: int) -> Floats:
    drawn = np.random.default_rng(count).integers(0, 2, size=(DRAWS, count))
    return np.where(drawn == 1, 1.0, -1.0)


def least_p(rounds: int) -> float:
    """The smallest p-value that `sign_flip_p` can give over so many rounds."""
    return 2.0 ** (1 - rounds) if rounds <= EXACT_ROUNDS else 1 / (1 + DRAWS)


def holm(values: Sequence[float]) -> list[float]:
    """p-values of one family, corrected for their number (Holm 1979): step down, never falling.

    Args:
        values: p-values in any order.

    Returns:
        The corrected ones in the same order; a difference is shown at level alpha where its own
        is below alpha, and over the whole family a wrong claim has at most that probability.
    """
    corrected = [1.0] * len(values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = highest
    return corrected
