"""The steps of a cell's route: which were made, what each moved, and which is to blame."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.execution.bundles import artifact_folder
from harness.store import layout

FAULT_SHARE = 1e-3
"""Threshold of blame: a step is named where it moves an output by more than this share of the range
of its source's outputs. It is chosen, not measured: no claim is made about what stays below it."""

MADE, FAILED, NOT_REACHED = "made", "failed", "not reached"

# Kinds of failures that a conversion may have; others befall what was to come before or after it.
_OF_CONVERSIONS = frozenset(
    {
        *("conversion", "disagreement", "timeout", "out-of-memory", "unsupported", "signal"),
        *("model", "output-limit", "invalid-output"),
    }
)

Document = dict[str, Any]


def steps_of(store: Path, cell: Document, failure: Document | None) -> list[Document]:
    """The conversions of a cell in their order, each with what its check found.

    Args:
        store: the results folder.
        cell: cell.json, or what a sweep lists of a cell.
        failure: why the cell has no answers; None where it has.

    Returns:
        For each step `converter`, `environment`, `options`, `max_abs_diff`, `share` (of the range
        of its source's outputs), `tolerance`, `note` and `status`: `made`, `failed` or `not
        reached`. A step that failed has the reason as its note.
    """
    planned = planned_steps(cell)
    found = [_artifact(store, step.get("key")) for step in planned]
    broken = None if failure is None else _broken(planned, found, failure)
    described = []
    for place, (step, artifact) in enumerate(zip(planned, found, strict=True)):
        status = MADE
        if broken is not None and place >= broken[0]:
            status = FAILED if place == broken[0] else NOT_REACHED
        elif failure is not None and broken is None and artifact is None:
            status = NOT_REACHED
        note = broken[1] if broken is not None and status == FAILED else ""
        described.append(_described(step, artifact if status == MADE else None, status, note))
    return described


def planned_steps(cell: Document) -> list[Document]:
    """The conversions that lead to a cell: `key`, `converter`, `environment`, `options`.

    Cells of old stores tell their route alone, and where its last step was made.
    """
    steps = cell.get("steps")
    if isinstance(steps, list):
        return [dict(step) for step in steps]
    nodes = str(cell.get("route") or "").split(">")
    key = ((cell.get("identity") or {}).get("artifact") or {}).get("conversion")
    found: list[Document] = [
        {"converter": f"{source.partition(':')[0]}>{target}", "options": {}}
        for source, target in pairwise(nodes)
    ]
    if found:
        found[-1] |= {"key": key, "environment": cell.get("converted_in")}
    return found


def label(place: int, step: Document) -> str:
    """What messages call a step: `step 2, keras>onnx:tf2onnx in tf2onnx-1.17`."""
    number = f"step {place + 1}, " if place else ""
    return f"{number}{step['converter']} in {step.get('environment')}"


def fault(steps: list[Document], moved_from: int | None = None) -> int | None:
    """The place of the step to blame; None where there is none.

    The one that failed, else the one with the largest jump above the threshold, else the one that
    moved most of those that lie between a cell and its source, if labels flipped between the two.

    Args:
        steps: what `steps_of` returns.
        moved_from: the place of the first step after the source that labels flipped from; None
            where none flipped, or where the source's own steps may have had a part in it.
    """
    for place, step in enumerate(steps):
        if step["status"] == FAILED:
            return place
    share, place = _largest(steps, 0)
    if share > FAULT_SHARE:
        return place
    # A step that was not compared is as likely as those that were.
    if moved_from is None or any(step["share"] is None for step in steps[moved_from:]):
        return None
    share, place = _largest(steps, moved_from)
    return place if share > 0 else None


def _largest(steps: list[Document], first: int) -> tuple[float, int]:
    """The largest share of the steps from a place on, and the first step that has it."""
    jumps = [(step["share"] or 0.0, -place) for place, step in enumerate(steps) if place >= first]
    share, place = max(jumps, default=(0.0, 0))
    return share, -place


def fault_in_words(steps: list[Document], place: int | None) -> str | None:
    """Which step is to blame and for what.

    Args:
        steps: what `steps_of` returns.
        place: what `fault` returns; None gives None.
    """
    if place is None:
        return None
    step = steps[place]
    called = f"step {place + 1}, {step['converter']} in {step['environment']}"
    if step["status"] == FAILED:
        return f"{called}, failed"
    asked = (step["options"] or {}).get("quantisation")
    told = f", where {asked} quantisation was asked for" if asked else ""
    moved = f"{100 * step['share']:.2g} % of their range"
    if step["share"] <= FAULT_SHARE:
        least = f"{100 * FAULT_SHARE:g} %"
        return (
            f"{called}, moves outputs by no more than {moved} (the threshold is {least}){told}, "
            "but labels changed, and no other step since its source moves them more"
        )
    return f"{called}, moves outputs by up to {moved}{told}"


def unchecked(steps: list[Document]) -> list[int]:
    """The places of steps that were made and not compared with their source."""
    return [
        place
        for place, step in enumerate(steps)
        if step["status"] == MADE and step["max_abs_diff"] is None
    ]


def _artifact(store: Path, key: object) -> Document | None:
    if not key:
        return None
    try:
        return layout.read_document(artifact_folder(store, str(key)) / "artifact.json")
    except StoreError:
        return None


def _broken(
    planned: list[Document], found: list[Document | None], failure: Document
) -> tuple[int, str] | None:
    """The place of the step that failed, and its reason; None where no step did."""
    message = str(failure.get("message") or "")
    for place, step in enumerate(planned):
        head = f"{label(place, step)}: "
        if message.startswith(head):
            return place, message.removeprefix(head)
    missing = next((place for place, artifact in enumerate(found) if artifact is None), None)
    if missing is None or failure.get("kind") not in _OF_CONVERSIONS:
        return None
    return missing, message


def _described(step: Document, artifact: Document | None, status: str, note: str) -> Document:
    check = (artifact or {}).get("check") or {}
    if status == MADE and not note:
        note = str(check.get("note") or "")
        if artifact is None:
            note = "its artifact is not in the store any more"
        elif not check:
            note = "not run beside its source"
    return {
        "converter": str(step["converter"]),
        "environment": step.get("environment"),
        "options": dict(step.get("options") or {}),
        **{name: check.get(name) for name in ("max_abs_diff", "share", "tolerance")},
        "note": note,
        "status": status,
    }
