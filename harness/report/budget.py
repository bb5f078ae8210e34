"""What a sweep was cut to, where it had only so long: one sentence, the same everywhere."""

from __future__ import annotations

from typing import Any

from harness.plan.budget import in_words

Document = dict[str, Any]


def sentence(result: Document) -> str | None:
    """What was cut of a sweep and how long it took; None where it had all the time it wanted.

    Args:
        result: what `harness.analysis.sweep_result` returns.
    """
    budget = result.get("budget")
    if not budget:
        return None
    images, share = budget["images"], budget["timing_share"]
    cut = []
    if images["chosen"] < images["asked"]:
        cut.append(f"{images['chosen']} of {images['asked']} images")
    if share is not None and share["least"] < 1:
        cut.append(f"timing to {_range(share)} of what was asked for")
    gone = len(budget["left_out"]) + budget["left_out_late"]
    said = f"Cut to {' and '.join(cut)}" if cut else "Nothing was made smaller"
    if gone:
        said += f"; {gone} cell{'s' if gone != 1 else ''} left out, see what was skipped"
    if untimed := budget["not_timed"]:
        said += f"; {untimed} not timed"
    taken = budget["taken_seconds"]
    return (
        f"Budget {in_words(budget['seconds'])}, taken {in_words(taken)} "
        f"({taken / budget['seconds']:.0%}). {said}."
    )


def _range(share: Document) -> str:
    least, most = f"{share['least']:.0%}", f"{share['most']:.0%}"
    return least if least == most else f"{least} to {most}"
