"""Whether a sweep is to prove what its models are compiled to."""

from __future__ import annotations

from collections.abc import Iterable

from harness.canonical import key_of
from harness.plan.cells import Cell
from harness.spec.models import SweepSpec


def wants_forms(spec: SweepSpec, cells: Iterable[Cell]) -> bool:
    """Whether cells say by a fingerprint what they were compiled to.

    They do where somebody asked for it, and by default where a backend is run with more than one
    set of settings, or its models are optimised in more than one way: only then can one of them
    turn out to change nothing. A fingerprint is no part of what is timed, but libraries that must
    compile once more for it take their time.
    """
    if spec.fingerprint is not None:
        return spec.fingerprint
    first: dict[str, str] = {}
    return any(
        first.setdefault(cell.backend, asked) != asked
        for cell in cells
        for asked in [key_of([dict(cell.settings), cell.wishes.optimise])]
    )
