"""`bisect passes` as a study of a store: two cells in, a kept document out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.progress import Progress
from harness.studies import records
from harness.studies.bisect_passes import Found, bisect_passes
from harness.studies.criteria import Criterion
from harness.studies.question import Question, ask, only_settings
from harness.studies.trials import Trials

Document = dict[str, Any]

KIND = "bisect-passes"


def study_passes(
    store: Path,
    a: str,
    b: str,
    progress: Progress,
    *,
    model: str | None = None,
    sweep: str | None = None,
    criterion: Criterion | None = None,
    image: str | None = None,
    refine: bool = True,
    retry: bool = False,
) -> Document:
    """Find the passes and settings that make B differ from A, and keep what was found.

    Args:
        store: the results folder, which holds both cells.
        a: the cell that is taken for right, as `harness compare` names cells.
        b: the cell with the fault, of the same environment, backend and model.
        progress: where each trial is told.
        model: where the names fit cells of several models.
        sweep: only cells of this sweep.
        criterion: what to look for; None: see `bisect_passes`.
        image: of which image the label flips, in place of a criterion.
        refine: go on where a guilty setting stands for passes.
        retry: try points again that failed before.

    Returns:
        The study's document.

    Raises:
        StoreError: nothing is called so.
        UsageError: the two differ in more than settings, or nothing is there to be found.
    """
    question = ask(store, a, b, model=model, sweep=sweep)
    only_settings(question)
    for note in question.notes:
        progress.note(note)
    document = records.begin(
        KIND,
        {
            "model": question.a.cell.get("model"),
            "environment": question.a.cell.get("environment"),
            "backend": question.a.cell.get("backend"),
            "a": question.a.described(),
            "b": question.b.described(),
        },
    )
    with Trials(store, question.b.spec, progress, retry=retry) as trials:
        found = bisect_passes(
            trials,
            question.a.settings,
            question.b.settings,
            progress,
            criterion=criterion,
            image=image,
            refine=refine,
            wishes=question.b.wishes,
        )
        sweeps = list(trials.sweeps)
    document |= {**described(found), "sweeps": sweeps, "complete": True}
    document["headline"] = headline(document)
    document["notes"] = _notes(question, found)
    records.keep(store, document)
    return document


def described(found: Found) -> Document:
    """What was found, as plain values."""
    needed = found.needed
    return {
        "criterion": str(found.criterion),
        "changes": [change.name for change in found.changes],
        "guilty": [change.name for change in found.guilty],
        "needed": None
        if needed is None
        else {"passes": list(needed.passes), "of": needed.of, "reason": needed.reason},
        "smallest": dict(found.smallest),
        "without": None if found.rest is None else found.rest.verdict.value,
        "unresolved": found.unresolved,
        "trials": [tried.record() for tried in found.tried],
    }


def headline(document: Mapping[str, Any]) -> str:
    """What is to blame, in one line."""
    guilty = " and ".join(document["guilty"])
    needed = document["needed"]
    passes = f" by {' and '.join(needed['passes'])}" if needed and needed["passes"] else ""
    count = len(document["trials"]) - 2
    return f"{guilty}{passes}, found in {count} trial{'' if count == 1 else 's'}"


def _notes(question: Question, found: Found) -> list[str]:
    """What a reader has to know before believing it."""
    notes = list(question.notes)
    for side, tried in zip((question.a, question.b), found.tried, strict=False):
        if tried.trial.key != side.key and tried.trial.answered:
            notes.append(
                f"{side.label} was run again: it is another cell today ({tried.trial.key[:12]}, "
                f"not {side.key[:12]}), since its environment or the runner changed."
            )
    if found.unresolved:
        notes.append(
            f"{found.unresolved} smaller sets could not be judged (they failed, or their times "
            "prove nothing): one of them may show it too."
        )
    if found.rest is not None and found.rest.verdict.value == "shows":
        notes.append(
            "B shows it also without what was found: there is another cause beside it. Bisect "
            "again between A and B without this change."
        )
    return notes
