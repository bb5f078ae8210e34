"""What may be said of a time ratio: nothing below the noise floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from harness.report import words

Document = dict[str, Any]
State = Literal["even", "faster", "slower"]


def noise_floor(noise: Sequence[Document]) -> float:
    """How far |log ratio| of the same cell run twice reaches (its interval's farther end)."""
    reaches = [
        abs(math.log(pair[side]))
        for pair in noise
        for side in ("time_ratio", "time_low", "time_high")
        if pair[side] is not None
    ]
    return max(reaches, default=0.0)


def time_state(pair: Document, floor: float) -> tuple[State, str]:
    """Whether b is faster or slower than a, and that in words; the pair has a time ratio."""
    ratio, low, high = pair["time_ratio"], pair["time_low"], pair["time_high"]
    if low is None or high is None:
        return "even", "one round only: no interval"
    if low <= 1 <= high:
        return "even", "no difference shown"
    if abs(math.log(ratio)) <= floor:
        return "even", "within the noise floor"
    if ratio < 1:
        return "faster", f"takes {100 * (1 - ratio):.0f} % less time"
    if ratio < 2:
        return "slower", f"takes {100 * (ratio - 1):.0f} % more time"
    return "slower", f"takes {ratio:.1f} times as long"


def times_in_words(pairs: Sequence[Document], floor: float, names: dict[str, str]) -> str:
    """One sentence for pairs with one reference; empty where nothing may be claimed."""
    found: dict[State, list[str]] = {"even": [], "faster": [], "slower": []}
    for pair in pairs:
        if pair["time_ratio"] is not None:
            state, _ = time_state(pair, floor)
            found[state].append(f"{names[pair['b']]} ({words.ratio(pair['time_ratio'])})")
    told = [f"{s.capitalize()}: {'; '.join(found[s])}." for s in ("faster", "slower") if found[s]]
    return " ".join(told)
