"""`harness sweep --dry-run`: the cells, how they stand, and the jobs that would run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from harness.progress import Progress
from harness.spec.models import SweepSpec

if TYPE_CHECKING:
    from harness.execution.sweep import Forecast
    from harness.plan.cells import Cell


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
        sys.stdout.write(json.dumps(_planned(forecast), indent=2) + "\n")
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
    jobs = _jobs(forecast)
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


def _jobs(forecast: Forecast) -> list[str]:
    """What is left, in order; an environment that is there already costs nothing."""
    left = [cell for work in forecast.works for cell in work.members]
    made = {"docker": "the image of", "venv": "the virtual environment of"}
    jobs = [
        f"build {made[executor]} {name}, unless it is there"
        for name, executor in sorted({place for cell in left for place in _places(cell)})
    ]
    conversions = {c.conversion.key: c for c in left if c.conversion}
    for cell in conversions.values():
        assert cell.conversion is not None  # noqa: S101 - chosen by it
        jobs.append(
            f"convert {cell.conversion.source.name} ({cell.conversion.converter}) "
            f"in {cell.conversion.environment}, unless it is there"
        )
    for work in forecast.works:
        how = "answer, then time in turn" if work.timed else "answer"
        if work.timed and not work.unanswered:
            how = "time in turn"
        control = " with the A/A control" if work.group.control else ""
        jobs.append(f"{how}: {work.group.label}{control}")
    return jobs


def _places(cell: Cell) -> set[tuple[str, str]]:
    """The environments that a cell needs, with its executor: its own, and the one that converts."""
    maker = {(cell.conversion.environment, cell.executor)} if cell.conversion else set()
    return {(cell.environment, cell.executor), *maker}


def _planned(forecast: Forecast) -> dict[str, Any]:
    cells = []
    for cell in forecast.plan.cells:
        record = cell.record()
        del record["identity"]
        cells.append({**record, "status": _state(cell.key, forecast)})
    return {
        "cells": cells,
        "jobs": _jobs(forecast),
        "skipped": [skipped.record() for skipped in forecast.plan.skipped],
    }
