"""What a pass does, from what became of it alone and of all others without it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

INERT, REDUNDANT, TOGETHER, ACTS = "inert", "redundant", "together", "acts"
FAILS, REFUSED = "fails", "refused"
UNKNOWN, HALF, UNTRIED = "unknown", "half", "untried"

EFFECTS: Mapping[str, str] = {
    ACTS: "changes what is compiled, alone and when it alone is missing, as far as both were tried",
    REDUNDANT: "changes what is compiled alone, but others do the same: it is not missed",
    TOGETHER: "changes nothing alone, but is missed: it works on what others leave",
    INERT: "changes nothing: same compiled form alone and without it",
    FAILS: "a compilation with or without it failed",
    REFUSED: "cannot be asked for so, here or with the settings that all points share",
    UNKNOWN: "not shown by its library, compiled otherwise each time, or compared with something that "
    "failed",
    HALF: "tried in one way only, in which it changes nothing: said of that way, not of the pass",
    UNTRIED: "not tried, or not to be tried in the way asked for: what does not run unasked cannot be "
    "left out",
}
"""The words that an ablation has for a pass, each with what it means."""


@dataclass(frozen=True)
class Change:
    """What a trial is beside the one it is compared with.

    Attributes:
        same_form: whether both were compiled to the same; None where that is not shown.
        identical: whether all answers are equal bit for bit; None where one has none.
        same_file: of a tool that rewrites model files: whether they hold the same; else None.
        steady: False where the same was compiled to something else once more; None: not known.
    """

    same_form: bool | None
    identical: bool | None
    same_file: bool | None = None
    steady: bool | None = None

    @property
    def inert(self) -> bool | None:
        """Whether nothing was changed: the same is executed, with the same bits; None: not known."""
        if self.identical is None or (self.same_form is None and not self.same_file):
            return None
        if self.steady is False and self.identical and not (self.same_form or self.same_file):
            return None  # another form alone is what the same settings give, too
        return self.identical and bool(self.same_form or self.same_file)

    @property
    def said(self) -> str:
        """What is to be said of it, where it is no plain change; else empty."""
        if self.inert:
            if self.same_file:
                return "changes nothing: same file"
            rewritten = "changes the file, " if self.same_file is False else "changes nothing: "
            return f"{rewritten}same compiled form"
        if self.steady is False and self.inert is None and self.identical:
            return "other form, same answers; not deterministic"
        if self.same_form and self.identical is False:
            return "same compiled form, other answers"
        if self.same_form is None and self.identical is not None:
            return "compiled form not shown by its library"
        return ""


def effect_of(arms: Mapping[str, Document], ways: Sequence[str]) -> str:
    """The word for a pass.

    Args:
        arms: its rows by arm (`alone`, `without`), as far as they were tried.
        ways: the arms in which this pass can be tried at all.
    """
    if not arms:
        return UNTRIED
    bad = [row for row in arms.values() if row["status"] in {"failed", "skipped"}]
    if bad:
        refused = all(row["status"] == "skipped" or row["kind"] == "unsupported" for row in bad)
        return REFUSED if refused else FAILS
    found = {arm: row["inert"] for arm, row in arms.items()}
    if None in found.values():
        return UNKNOWN
    if len(found) == 1:
        inert = next(iter(found.values()))
        return ACTS if not inert else INERT if len(ways) == 1 else HALF
    if all(found.values()):
        return INERT
    return TOGETHER if found["alone"] else REDUNDANT if found["without"] else ACTS


def operators_changed(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """By how many each kind of operator grew or shrank; kinds that stayed are left out."""
    kinds = sorted({*before, *after})
    found = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in kinds}
    return {kind: number for kind, number in found.items() if number}
