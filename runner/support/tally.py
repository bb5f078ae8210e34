"""Counting operators by kind, for `Description.ran["operators"]`."""

from __future__ import annotations

from collections import Counter
from typing import Dict, Iterable, Mapping

LIMIT = 64
"""Entries that `operators` may have."""

_REST = "others"


def tally(kinds: Iterable[str]) -> Dict[str, int]:
    """How many there are of each kind, as `most` lists them."""
    return most(Counter(kinds))


def most(counts: Mapping[str, int], limit: int = LIMIT) -> Dict[str, int]:
    """The most frequent kinds, by number and name; what is beyond the limit counts as `others`."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) <= limit:
        return dict(ordered)
    kept = dict(ordered[: limit - 1])
    kept[_REST] = kept.get(_REST, 0) + sum(count for _, count in ordered[limit - 1 :])
    return kept
