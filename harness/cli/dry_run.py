"""`harness sweep --dry-run`: the cells, the conversions, how they stand, and the jobs to run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from harness.progress import Progress
from harness.spec.models import Conversions, SweepSpec

if TYPE_CHECKING:
    from harness.execution.standing import Work
    from harness.execution.sweep import Forecast
    from harness.plan.cells import Cell
    from harness.plan.conversions import Conversion

_CHOSEN = ("opset", "folding", "layout", "quantisation", "passes", "disabled_passes")
_STATES = {
    "made": "there already",
    "to make": "to make",
    "not needed": "not needed, as what is made of it is there",
    "too far off": "there already, and further from its source than is allowed now: cells fail",
}


def dry_run(
    spec: SweepSpec, store: Path, progress: Progress, *, retry: bool, as_json: bool
) -> None:
    """Plan a sweep over what the store holds, and print what it would do.

    Weights and pixels are made, since keys hold their hashes, and a base image is got; no cell is
    run.
    """
    from harness.execution.sweep import foresee
    from harness.report import words
    from harness.report.tables import standard_output

    forecast = foresee(spec, store, progress, retry=retry)
    cells = forecast.plan.cells
    if as_json:
        sys.stdout.write(json.dumps(_planned(forecast, store, spec.conversions), indent=2) + "\n")
        return
    console = standard_output()
    title = f"{len(cells)} cell{'s' if len(cells) != 1 else ''}"
    table = Table("cell", "now", "model", "environment", "executor", "backend", "route",
                  "device", title=title,
                  title_justify="left")  # fmt: skip
    for cell in cells:
        backend = words.backend(cell.record())
        row = (cell.key[:8], _state(cell.key, forecast), cell.model, cell.environment,
               cell.executor, backend, cell.route, cell.device)  # fmt: skip
        table.add_row(*(Text(text) for text in row))
    console.print(table)
    jobs = _jobs(forecast, store, spec.conversions)
    failed = len(forecast.standing.failed)
    before = f", but {words.plural(failed, 'cell')} failed before: --retry runs them again"
    console.print(
        "Jobs, in order:" if jobs else f"Nothing is left to do{before if failed else ''}."
    )
    for job in jobs:
        console.print(Text(f"  {job}"))
    for skipped in forecast.plan.skipped:
        console.print(Text(f"skipped {skipped.model} in {skipped.environment}: {skipped.reason}"))


def _state(key: str, forecast: Forecast) -> str:
    if key in forecast.standing.done:
        return "done"
    return "failed before" if key in forecast.standing.failed else "to run"


def _jobs(forecast: Forecast, store: Path, limits: Conversions) -> list[str]:
    """What is left, in order; an environment that is there already costs nothing."""
    left = [cell for work in forecast.works for cell in work.members]
    made = {"docker": "the image of", "venv": "the virtual environment of"}
    jobs = [
        f"build {made[executor]} {name}, unless it is there"
        for name, executor in sorted({place for cell in left for place in _places(cell, store)})
    ]
    jobs += [
        f"convert {model}{_step(step)}: {_STATES[state]}"
        for model, step, state in conversion_states(left, store, limits)
    ]
    for work in forecast.works:
        jobs.append(_group_job(work))
    return jobs


def _group_job(work: Work) -> str:
    """What is done with a group; for what was compiled alone, only cells that lack it are opened."""
    how = ["keep IR"] if work.unkept else []
    how += ["fingerprint what was compiled"] if work.unproved else []
    if not (work.unanswered or work.timed):
        return f"{' and '.join(how)} of {replace(work.group, cells=work.members).label}"
    how = [*(["answer"] if work.unanswered else []), *how]
    how += ["time in turn"] if work.timed else []
    control = " with the A/A control" if work.group.control else ""
    return f"{', then '.join(how)}: {work.group.label}{control}"


def conversion_states(
    cells: Iterable[Cell], store: Path, limits: Conversions
) -> list[tuple[str, Conversion, str]]:
    """Every step of the conversions of cells, each after what it is made from, and how it stands.

    Args:
        cells: those whose chains are shown.
        store: the results folder.
        limits: the tolerances of now.

    Returns:
        The model, the step, and `made`, `to make`, `not needed` (it is not there, but what comes
        after it is, for every cell that it is on the way to) or `too far off` (it was made, and
        fails the check as it is now).
    """
    from harness.execution.conversion_tasks import fault_of, kept_checks, missing

    steps: dict[str, tuple[str, Conversion]] = {}
    wanted: set[str] = set()
    faulty: set[str] = set()
    for cell in cells:
        if cell.conversion is not None:
            for step in cell.conversion.chain:
                steps.setdefault(step.key, (cell.model, step))
            wanted.update(step.key for step in missing(cell.conversion, store))
            kept = kept_checks(store, cell.conversion, limits)
            faulty.update(step.key for step, check in kept if fault_of(step, check))
    return [(m, step, _conversion_state(step, wanted, faulty, store)) for m, step in steps.values()]


def _conversion_state(step: Conversion, wanted: set[str], faulty: set[str], store: Path) -> str:
    from harness.execution.bundles import artifact_folder, is_whole

    if step.key in faulty:
        return "too far off"
    if step.key in wanted:
        return "to make"
    return "made" if is_whole(artifact_folder(store, step.key)) else "not needed"


def _step(step: Conversion) -> str:
    """By which way, what the step is called, and what a person wants of it."""
    from harness.plan.cells import shown
    from harness.plan.routes import spelled

    way = ""
    if step.before is not None:
        chain = step.chain
        way = f" by {spelled(chain[0].source_format, [one.converter for one in chain])}"
    chosen = {name: value for name, value in step.options.items() if name in _CHOSEN}
    told = "".join(
        f", {name} {shown(value) if isinstance(value, list) else str(value).lower()}"
        for name, value in chosen.items()
    )
    return f"{way}: {step.label}{told}"


def _places(cell: Cell, store: Path) -> set[tuple[str, str]]:
    """The environments that a cell needs, with its executor: its own, and those of conversions."""
    from harness.execution.conversion_tasks import missing

    places = {(cell.environment, cell.executor)}
    for step in missing(cell.conversion, store) if cell.conversion else ():
        checkers = [one for one in (step.source_checker, step.checker) if one]
        names = {step.environment, *(one.environment for one in checkers)}
        places |= {(name, step.executor) for name in names}
    return places


def _planned(forecast: Forecast, store: Path, limits: Conversions) -> dict[str, Any]:
    cells = []
    for cell in forecast.plan.cells:
        record = cell.record()
        del record["identity"]
        cells.append({**record, "status": _state(cell.key, forecast)})
    return {
        "cells": cells,
        "conversions": [
            {
                "model": model,
                **step.record(),
                "after": step.before and step.before.key,
                "status": state,
            }
            for model, step, state in conversion_states(forecast.plan.cells, store, limits)
        ],
        "jobs": _jobs(forecast, store, limits),
        "skipped": [skipped.record() for skipped in forecast.plan.skipped],
    }
