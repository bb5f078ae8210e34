"""Scales of the report's small inline charts. Pure: numbers in, positions and ticks out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_BY_ROUNDNESS = (
    *(1.0, 0.1, 10.0, 0.01, 100.0, 0.5, 2.0, 0.2, 5.0, 0.05, 20.0, 0.02, 50.0, 3.0, 4.0),
    *(0.25, 0.8, 1.5, 0.9, 1.1, 0.7, 1.25, 0.95, 1.05, 0.98, 1.02, 0.99, 1.01),
)
_ROOM = 17.0
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place between 0 and 100, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class RatioScale:
    """A logarithmic scale of time ratios that always holds 1.

    Attributes:
        low: ratio at the left end.
        high: ratio at the right end.
    """

    low: float
    high: float

    def at(self, ratio: float) -> float:
        """Place of a ratio, 0 (left) to 100 (right)."""
        span = math.log(self.high) - math.log(self.low)
        place = 100 * (math.log(ratio) - math.log(self.low)) / span
        return round(min(100.0, max(0.0, place)), 2)

    @property
    def ticks(self) -> list[Tick]:
        """Marks that leave each other room: 1 first, then the roundest."""
        kept: list[float] = []
        for ratio in _BY_ROUNDNESS:
            inside = self.low <= ratio <= self.high
            if inside and all(abs(self.at(ratio) - self.at(k)) >= _ROOM for k in kept):
                kept.append(ratio)
        return [Tick(self.at(r), f"{r:g}\u00d7") for r in sorted(kept)]


def ratio_scale(values: Iterable[float | None]) -> RatioScale:
    """A scale that holds all the given ratios, and 1, with some air."""
    known = [v for v in values if v is not None and v > 0] + [1.0]
    low, high = math.log(min(known)), math.log(max(known))
    air = max(0.12 * (high - low), 0.03)
    return RatioScale(math.exp(low - air), math.exp(high + air))


@dataclass(frozen=True)
class ShareScale:
    """A scale of shares from 0 to `high`.

    The place is the square root of the share, so that one image in a thousand is still seen
    beside a tenth of all.
    """

    high: float

    def at(self, share: float) -> float:
        """Place of a share, 0 to 100."""
        return round(100 * math.sqrt(min(1.0, max(0.0, share / self.high))), 2)


def share_scale(values: Iterable[float | None]) -> ShareScale:
    """A scale that holds all the given shares, and 5 % at least, so that little looks little."""
    known = [v for v in values if v is not None and v > 0]
    return ShareScale(max([*known, _LEAST_SHARE]))


def heat(share: float | None, most: float) -> int:
    """Strength of a heat map's field, 0 to 100; 0 only for no difference at all."""
    if share is None or share <= 0 or most <= 0:
        return 0
    return max(8, round(100 * math.sqrt(share / most)))
