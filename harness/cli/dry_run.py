"""`harness sweep --dry-run`: the cells and jobs that would run."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.plan.build import Plan
from harness.progress import Progress
from harness.spec.models import SweepSpec


def dry_run(spec: SweepSpec, progress: Progress, *, as_json: bool) -> None:
    """Resolve and plan a sweep, and print what it would do; prepares pixels, runs nothing."""
    from harness.execution.sweep import plan_sweep
    from harness.report.tables import standard_output

    _, plan = plan_sweep(spec, progress)
    if as_json:
        sys.stdout.write(json.dumps(_planned(plan), indent=2) + "\n")
        return
    console = standard_output()
    table = Table("cell", "model", "environment", "executor", "backend", "route", "precision",
                  "device", "threads", "batch", title=f"{len(plan.cells)} cells", title_justify="left")  # fmt: skip
    for cell in plan.cells:
        backend = " ".join([cell.backend, *(f"{k}={v}" for k, v in cell.settings.items())])
        row = (cell.key[:8], cell.model, cell.environment, cell.executor, backend, cell.route,
               cell.precision, cell.device, str(cell.threads), str(cell.batch))  # fmt: skip
        table.add_row(*(Text(text) for text in row))
    console.print(table)
    console.print("Jobs, in order:")
    for job in _jobs(plan):
        console.print(Text(f"  {job}"))
    for skipped in plan.skipped:
        console.print(Text(f"skipped {skipped.model} in {skipped.environment}: {skipped.reason}"))


def _jobs(plan: Plan) -> list[str]:
    made = {"docker": "build the image of", "venv": "provision"}
    jobs = [
        f"{made[executor]} {name}"
        for name, executor in sorted({(c.environment, c.executor) for c in plan.cells})
    ]
    conversions = {c.conversion.key: c.conversion for c in plan.cells if c.conversion}
    jobs += [
        f"convert {c.source.name} ({c.converter}) in {c.environment}" for c in conversions.values()
    ]
    for group in plan.groups:
        how = "answer, then time in turn" if group.reference else "answer"
        jobs.append(f"{how}: {group.label}" + (" with its A/A control" if group.control else ""))
    return jobs


def _planned(plan: Plan) -> dict[str, Any]:
    cells = []
    for cell in plan.cells:
        record = cell.record()
        del record["identity"]
        cells.append(record)
    return {
        "cells": cells,
        "jobs": _jobs(plan),
        "skipped": [skipped.record() for skipped in plan.skipped],
    }
