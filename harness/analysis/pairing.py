"""Which cells make a pair: the axes in which two differ, and the session that timed both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.analysis.timing import TimeRatio, round_medians, time_ratio
from harness.store.sessions import Session

AXES = (
    "model",
    "environment",
    "backend",
    "settings",
    "precision",
    "device",
    "threads",
    "batch",
)
"""What a cell may differ in from another."""

Document = dict[str, Any]


def axes(a: Document, b: Document) -> list[str]:
    """Names of the axes in which two cells differ, in a fixed order; empty for a repeat.

    The same name with other weights is another model.
    """
    differing = [name for name in AXES if a.get(name) != b.get(name)]
    if "model" not in differing and _weights(a) != _weights(b):
        differing.insert(0, "model")
    return differing


def _weights(cell: Document) -> object:
    return (cell.get("checkpoint") or {}).get("sha256")


def like(cell: Document, names: Sequence[str]) -> tuple[str, ...]:
    """The cell's values of some axes, as something that can be compared and sorted."""
    return tuple(
        repr(sorted((cell.get(name) or {}).items())) if name == "settings" else str(cell.get(name))
        for name in names
    )


def pair_ratio(sessions: Iterable[Session], a: str, b: str) -> TimeRatio | None:
    """The ratio t_b / t_a from the first session that timed both; None where none did.

    Times of different sessions are never compared: the machine may have changed between.
    """
    for session in sessions:
        if {a, b} <= session.members:
            x, y = (session.samples[key] for key in (a, b))
            return time_ratio(
                round_medians(x.rounds, x.durations_ns), round_medians(y.rounds, y.durations_ns)
            )
    return None
