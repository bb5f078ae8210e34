"""Whether what two cells differ in changes anything: cells compiled to the very same program. Pure.

A setting is inert where two cells that differ in it alone have equal fingerprints and answers that
are equal bit for bit. Nothing that is measured between two such cells is a finding: it is what two
runs of one program differ by. Equal answers from other programs prove nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from harness.store.compiled import Compiled

Document = dict[str, Any]
Form = Literal["same", "other", "unknown"]

TUNED = frozenset({"level", "settings", "optimise"})
"""The axes that are about what a compiler does: in no others may inert cells differ."""


def form_of(a: Compiled | None, b: Compiled | None) -> Form:
    """Whether two cells of one model and backend were compiled to the same program.

    Args:
        a: what one was compiled to; None: nobody asked.
        b: likewise.

    Returns:
        `unknown` where either's form is not shown.
    """
    if a is None or b is None or a.absent or b.absent:
        return "unknown"
    return "same" if (a.form, a.sha256) == (b.form, b.sha256) else "other"


def is_inert(form: Form | None, axes: Sequence[str], identical: Callable[[], bool]) -> bool:
    """Whether what two cells differ in changes nothing.

    Args:
        form: as `form_of` tells it.
        axes: in which they differ; a repeat differs in none, and has nothing to be inert.
        identical: tells whether all their answers are equal bit for bit; asked only where
            everything else speaks for it.
    """
    return form == "same" and bool(axes) and set(axes) <= TUNED and identical()
