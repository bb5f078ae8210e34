"""Counting operators by kind, for `Description.ran["operators"]`."""

from __future__ import annotations

from collections import Counter
from typing import Dict, Iterable

LIMIT = 64
"""Entries that `operators` may have."""

_REST = "others"


def tally(kinds: Iterable[str]) -> Dict[str, int]:
    """How many there are of each kind, the most frequent first; `others` sums up what is too much."""
    counted = sorted(Counter(kinds).items(), key=lambda item: (-item[1], item[0]))
    if len(counted) <= LIMIT:
        return dict(counted)
    kept = dict(counted[: LIMIT - 1])
    kept[_REST] = sum(count for _, count in counted[LIMIT - 1 :])
    return kept
