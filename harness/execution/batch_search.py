"""Which batch gives the most inputs a second: what to try next, and what was best. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GAIN = 0.05
"""Twice as many inputs a call that bring less than this more a second bring nothing."""
PATIENCE = 2
"""So many steps without a gain end the search: one may be bad luck."""
LARGEST = 4096
"""The largest batch that a sweep file may name."""
LONGEST_CALL_NS = 10_000_000_000
"""Doubling ends where a call takes longer: sixteen rounds of it would take minutes a cell."""


@dataclass(frozen=True)
class Tried:
    """One batch: how many inputs a second it gave, or why it could not be run."""

    batch: int
    per_second: float | None = None
    call_ns: float | None = None
    refused: str | None = None

    def record(self) -> dict[str, Any]:
        """As `session.json` holds it."""
        if self.refused is not None:
            return {"batch": self.batch, "refused": self.refused}
        return {"batch": self.batch, "per_second": self.per_second, "call_ns": self.call_ns}


def next_batch(tried: Sequence[Tried], given: Sequence[int] | None, own: int) -> int | None:
    """The batch to try next, or None where the search is over.

    Args:
        tried: so far, in order.
        given: the batches to try, each of them; None: the cell's own, then twice as many, and so
            on, until a batch cannot be run, `PATIENCE` doublings in a row gain less than `GAIN`,
            or one of the bounds above is met.
        own: the cell's own batch.
    """
    if given is not None:
        return given[len(tried)] if len(tried) < len(given) else None
    if not tried:
        return own
    last = tried[-1]
    if last.refused is not None or last.batch * 2 > LARGEST:
        return None
    if last.call_ns is not None and last.call_ns > LONGEST_CALL_NS:
        return None
    if len(tried) > PATIENCE:
        before = max(one.per_second or 0.0 for one in tried[:-PATIENCE])
        if all((one.per_second or 0.0) < before * (1 + GAIN) for one in tried[-PATIENCE:]):
            return None
    return last.batch * 2


def best_batch(tried: Sequence[Tried], floor: float) -> int | None:
    """The smallest batch that gives as much as the best; None where none could be run.

    Args:
        tried: all of them.
        floor: relative differences below this are no differences.
    """
    found = [one for one in tried if one.per_second]
    if not found:
        return None
    most = max(one.per_second or 0.0 for one in found)
    return min(one.batch for one in found if (one.per_second or 0.0) >= most * (1 - floor))
