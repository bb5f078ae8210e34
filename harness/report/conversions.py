"""Conversions as people read them: a row a route, and the paper's twelve as a small square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.conversion_steps import FAILED, FAULT_SHARE, NOT_REACHED
from harness.analysis.conversions import OTHER, UNQUANTISED
from harness.analysis.paper import FRAMEWORKS
from harness.report import words
from harness.report.paper_square import FieldView, failure, findings, square

Document = dict[str, Any]

LEAD = (
    "Each route from the model file, step by step: how far what a step made is from its source, "
    "both run over a few of the images. Beyond the threshold, "
    f"{words.percent(FAULT_SHARE, 1)} of the range of its outputs, a step is to blame."
)
SQUARE = "The paper's twelve conversions"

_WIDE = 120
# Smaller shares are not told apart.
_SMALLEST = 1e-4
_ARROW = " \u2192 "


@dataclass(frozen=True)
class StepView:
    """One step in words.

    Attributes:
        name: its converter.
        said: how far what it made is from its source, or what became of it.
        note: where it was made, and what else there is to say.
        state: `fault`, `unchecked`, `lost` (never reached) or `well`.
    """

    name: str
    said: str
    note: str
    state: str


@dataclass(frozen=True)
class RowView:
    """One converted cell in words.

    Attributes:
        key: of the cell.
        name: the cell's.
        place: its environment and backend.
        route: in full.
        asked: what was asked of the conversions, such as `static quantisation`.
        works: whether it has answers.
        reason: the first words of why not; empty where it works.
        message: all of them; empty where `reason` says them all.
        steps: the conversions.
        blame: which step is to blame, or what was not checked; empty where there is nothing.
        flips: of how many images the label changed, or nothing; `share` is the same in percent.
        changed: whether any did; None: not known.
        against: what it is compared with, and in what else the two differ.
        top1: its accuracy beside the source's.
    """

    key: str
    name: str
    place: str
    route: str
    asked: tuple[str, ...]
    works: bool
    reason: str
    message: str
    steps: tuple[StepView, ...]
    blame: str
    flips: str
    share: str
    changed: bool | None
    against: str
    top1: str


@dataclass(frozen=True)
class ModelView:
    """The conversions of one model; `square` has a row a framework, or is empty.

    `findings` are the sentences about what DeltaNN found.
    """

    name: str
    rows: tuple[RowView, ...]
    square: tuple[tuple[str, tuple[FieldView, ...]], ...]
    findings: tuple[str, ...]


def model_views(result: Document) -> list[ModelView]:
    """The conversions of a sweep's result, model by model; results of old stores have none."""
    found = result.get("conversions") or []
    names = words.names(result["cells"])
    views = []
    for model in dict.fromkeys(str(one["model"]) for one in found):
        own = [one for one in found if str(one["model"]) == model]
        views.append(
            ModelView(
                model,
                tuple(_row(one, names) for one in own),
                square(own),
                findings(own),
            )
        )
    return views


def _row(one: Document, names: dict[str, str]) -> RowView:
    works = one["status"] != "failed"
    message, reason = failure(one)
    return RowView(
        key=one["key"],
        name=names.get(one["key"], str(one["environment"])),
        place=f"{one['environment']} \u00b7 {one['backend']}",
        route=str(one["route"]),
        asked=tuple(words.asked(one)),
        works=works,
        reason=reason,
        message=message,
        steps=tuple(_step(place, step, one["fault"]) for place, step in enumerate(one["steps"])),
        blame=_blame(one),
        flips=_flips(one),
        share=words.percent(one["flips"] / one["images"]) if one["flips"] else "",
        changed=None if one["flips"] is None else one["flips"] > 0,
        against=_against(one, names),
        top1=_top1(one),
    )


def _step(place: int, step: Document, fault: int | None) -> StepView:
    note = f"made in {step['environment']}" if step["environment"] else ""
    if step["status"] in (FAILED, NOT_REACHED):
        state = "fault" if step["status"] == FAILED else "lost"
        return StepView(step["converter"], step["status"], note, state)
    note = "; ".join(part for part in (note, step["note"]) if part)
    if step["max_abs_diff"] is None:
        return StepView(step["converter"], "not compared", note, "unchecked")
    small = step["share"] < _SMALLEST
    share = f"under {words.percent(_SMALLEST)}" if small else words.percent(step["share"])
    said = f"{words.difference(step['max_abs_diff'])} ({share} of the range)"
    return StepView(step["converter"], said, note, "fault" if place == fault else "well")


def _blame(one: Document) -> str:
    if one["at_fault"]:
        return f"{one['at_fault'][0].upper()}{one['at_fault'][1:]}."
    if one["flips"] and one["unchecked"]:
        steps = [
            f"step {place + 1}, {one['steps'][place]['converter']}" for place in one["unchecked"]
        ]
        return (
            f"No step that was compared moves outputs by more than the threshold of "
            f"{words.percent(FAULT_SHARE, 1)}. Not compared with its source: {'; '.join(steps)}. That, or what runs the model, makes the difference."
        )
    return ""


def _flips(one: Document) -> str:
    if one["flips"] is None:
        return words.NOTHING
    return f"{words.count(one['flips'])} of {words.count(one['images'])}"


def _against(one: Document, names: dict[str, str]) -> str:
    if one["against"] is None:
        return ""
    name = names.get(one["against"], one["against"][:12])
    relation = {UNQUANTISED: "unquantised", OTHER: "another route"}.get(
        str(one["relation"]), "its source"
    )
    axes = [axis.replace("_", " ") for axis in one["axes"]]
    unlike = f"; other {', '.join(axes)}" if axes else ""
    return f"{name} ({relation}{unlike})"


def _top1(one: Document) -> str:
    if one["top1"] is None:
        return words.NOTHING
    own = words.share(one["top1"])
    return own if one["top1_source"] is None else f"{words.share(one['top1_source'])}{_ARROW}{own}"


def print_conversions(result: Document, console: Console, new_table: Any) -> None:
    """Print the conversions of a sweep as tables for the terminal, if there are any.

    Args:
        result: what `harness.analysis.sweep_result` returns.
        console: where to.
        new_table: makes an empty table from its title and columns.
    """
    wide = console.width >= _WIDE
    left = ("cell", "route", "result", "step by step", "compared with")
    heads = ["cell", "route", "result", "step by step", "flips", "top-1"]
    heads += ["compared with"] if wide else []
    for view in model_views(result):
        table: Table = new_table(f"Conversions \u00b7 {view.name}", *heads, left=left)
        for row in view.rows:
            route = ", ".join([row.route, *row.asked])
            cells = [
                Text(row.key[:8]),
                Text(route),
                Text("works" if row.works else row.reason, style="" if row.works else "red"),
                Text(" \u00b7 ".join(_short(step) for step in row.steps)),
                Text(row.flips, style="bold yellow" if row.changed else ""),
                Text(row.top1),
            ]
            table.add_row(*cells, *([Text(row.against)] if wide else []))
        console.print(table)
        for row in view.rows:
            if row.blame and row.works:
                line = f"{row.key[:8]} {row.name}: {row.blame}"
                console.print(Text(line, style="yellow"), soft_wrap=True)
        if view.square:
            console.print(_square_table(view, new_table))


def _short(step: StepView) -> str:
    return step.said.partition(" (")[0] + (" !" if step.state == "fault" else "")


def _square_table(view: ModelView, new_table: Any) -> Table:
    table: Table = new_table(f"{SQUARE} \u00b7 labels changed", "from", *FRAMEWORKS, left=("from",))
    styles = {"failed": "red", "differs": "bold yellow", "same": "green"}
    for start, fields in view.square:
        texts = [Text(one.said, style=styles.get(one.state, "")) for one in fields]
        table.add_row(Text(start), *texts)
    return table
