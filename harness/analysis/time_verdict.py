"""What may be said of a time ratio: faster, slower, no difference to be seen, or nothing. Pure.

A difference is claimed only where all three hold: the measurement is not INVALID; the sign-flip
test is below 0.05 after Holm's correction over the family; and the whole interval lies beyond the
noise floor. The family is all timed pairs of one model and one scenario that are shown against
the same reference.

Simulated at 16 rounds over equal cells, a floor of 1 % and a control: 0.1 % false claims where
rounds are independent, whatever their distribution; 1 and 5 % where they are autocorrelated by
0.5 and 0.8; 4 % where each process is off by 0.4 % (standard deviation) for good. A plain test
alone would claim 5, 25, 54 and 80 %.

One control tells too little of processes that differ by more: off by 0.7 or 1 % each, with medians
that vary by 0.5 %, they make 14 or 25 % false claims. On such a machine a larger floor has to be
asked for (`timing.floor`), or processes of its own for each round (`timing.fresh_processes`): what
a process is off by is then one more thing that rounds differ by, and stands in the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from scipy import stats

from harness.analysis.time_ratio import TimeRatio, holm, least_p

ALPHA = 0.05
"""Over a family, at most this share of wrong claims."""

FLOOR = 0.01
"""The noise floor where a session records none: two processes of the very same cell differ by
about as much, by where their memory lies."""

Word = Literal["faster", "slower", "no-difference", "inert", "unknown"]
Reason = dict[str, Any]


@dataclass(frozen=True)
class PairTime:
    """One pair in one scenario, measured and not yet judged.

    Attributes:
        ratio: t_b / t_a, an image.
        floor: the noise floor, a relative size: 0.01 is one per cent.
        valid: whether its session may be believed; None: nobody judged it.
        reasons: why not, each `kind`, `message` and `key` (the cell's, None: the session's).
        scenario: `single_stream` or `offline`.
        session: the id of the session that timed both.
        fresh: whether each round was timed in processes of its own.
    """

    ratio: TimeRatio
    floor: float = FLOOR
    valid: bool | None = None
    reasons: tuple[Reason, ...] = ()
    scenario: str = "single_stream"
    session: str = ""
    fresh: bool = False


@dataclass(frozen=True)
class TimeVerdict:
    """What may be said of a pair's times.

    Attributes:
        verdict: of b against a; `inert` where both run the very same program, so that their times
            are those of one program run twice, whatever they came out at.
        ratio: t_b / t_a, with its interval `low` to `high`; None where they were not measured.
        p: of the sign-flip test.
        p_holm: the same, corrected over `family` pairs.
        smallest_visible: relative size of the smallest difference that would have been claimed,
            had it been measured with the spread that was seen here; None where no difference
            would have been, however large.
        floor: the noise floor, a relative size.
        valid: as in `PairTime`.
        reasons: as in `PairTime`; also why nothing can be said of a pair that was not measured.
        family: how many pairs the correction is over.
        notes: reasons to read it with care.
    """

    verdict: Word
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    smallest_visible: float | None = None
    floor: float = FLOOR
    valid: bool | None = None
    reasons: tuple[Reason, ...] = ()
    family: int = 0
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "reasons": [dict(reason) for reason in self.reasons],
            "notes": list(self.notes),
        }


_PLAIN = (
    *("verdict", "p", "p_holm", "ratio", "low", "high"),
    *("smallest_visible", "floor", "valid", "family"),
)

NOT_TIMED = TimeVerdict(
    "unknown",
    reasons=({"kind": "not-timed", "message": "not measured in one session", "key": None},),
)
"""Of a pair that no session timed side by side."""

NOT_JUDGED = "recorded before times were judged, so nothing says whether it is valid"


def inert(one: PairTime) -> TimeVerdict:
    """Of a pair that runs the very same program: it is measured, and nothing is claimed.

    It belongs to no family: it is no question that could be answered wrongly.
    """
    return replace(_judge(one, None, 1), family=0, verdict="inert", smallest_visible=None)


def judge(family: Sequence[PairTime]) -> list[TimeVerdict]:
    """Judge all pairs of one family together.

    Args:
        family: all timed pairs of one model and scenario that are shown against one reference.
            INVALID ones are not tested, so they do not make the others' correction stronger.

    Returns:
        A verdict for each, in the same order.
    """
    tested = {
        place: one.ratio.p
        for place, one in enumerate(family)
        if one.valid is not False and one.ratio.p is not None
    }
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return [_judge(one, corrected.get(i), len(tested)) for i, one in enumerate(family)]


def _judge(one: PairTime, p_holm: float | None, family: int) -> TimeVerdict:
    ratio, reasons = one.ratio, one.reasons
    notes = list(ratio.notes)
    if one.valid is None:
        notes.append(NOT_JUDGED)
    word: Word = "unknown"
    visible = None
    if ratio.low is None or ratio.high is None or ratio.error is None:
        said = "one round only: no interval"
        reasons = (*reasons, {"kind": "too-few-rounds", "message": said, "key": None})
    elif one.valid is not False:
        word = _word(ratio.low, ratio.high, p_holm, one.floor)
        visible = _smallest_visible(ratio.error, ratio.rounds, one.floor, family)
        if word == "no-difference" and visible is not None:
            visible = max(visible, ratio.apart)
    return TimeVerdict(
        verdict=word,
        ratio=ratio.ratio,
        low=ratio.low,
        high=ratio.high,
        p=ratio.p,
        p_holm=p_holm,
        smallest_visible=visible,
        floor=one.floor,
        valid=one.valid,
        reasons=reasons,
        family=family,
        notes=tuple(notes),
    )


def _word(low: float, high: float, p_holm: float | None, floor: float) -> Word:
    if p_holm is None or p_holm >= ALPHA:
        return "no-difference"
    if low > 1 + floor:
        return "slower"
    # A ratio and its inverse are equally far from 1.
    return "faster" if high < 1 / (1 + floor) else "no-difference"


def _smallest_visible(error: float, rounds: int, floor: float, family: int) -> float | None:
    """The smallest difference that passes both conditions, with the worst place in its family.

    Its interval must clear the floor, and a t test at ALPHA / family stands in for the sign-flip
    test, which has no inverse in closed form.
    """
    if least_p(rounds) * family >= ALPHA:
        return None
    degrees = rounds - 1
    beyond = math.log1p(floor) + float(stats.t.ppf(1 - ALPHA / 2, degrees)) * error
    tested = float(stats.t.ppf(1 - ALPHA / (2 * family), degrees)) * error
    return math.expm1(max(beyond, tested))
