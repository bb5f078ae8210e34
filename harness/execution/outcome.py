"""How a sweep went: its document, and what is told of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.canonical import write_json
from harness.execution.attempts import Failure
from harness.execution.standing import Standing, past_sessions, sessions_of
from harness.plan.build import Plan
from harness.plan.cells import Cell
from harness.plan.groups import Group, families, reference_of
from harness.spec.models import SweepSpec


@dataclass
class Outcome:
    """How a sweep went.

    Attributes:
        id: name of its document under `sweeps/`.
        statuses: `done`, `resumed` or `failed`, by cell key.
        failures: why the failed ones failed, this time or before.
    """

    id: str
    statuses: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)


def record(
    spec: SweepSpec,
    store: Path,
    plan: Plan,
    groups: list[Group],
    standing: Standing,
    failures: Mapping[str, Failure],
    problems: Mapping[str, str],
    *,
    more: Mapping[str, Any] | None = None,
) -> Outcome:
    """Write the sweep's document: what was asked for and how each cell stands.

    Args:
        spec: the sweep.
        store: the results folder.
        plan: all that was asked for.
        groups: as they were run.
        standing: what the store held before.
        failures: of this run, by cell key.
        problems: what could not be timed, by cell key.
        more: what else the document says: that the sweep is one of many that a `study` ran and not
            one that a person asked for, or what was cut to a `budget`.
    """
    stamp = datetime.now(UTC)
    outcome = Outcome(f"{stamp:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}")
    controls = {c.key: c for group in groups for c in group.cells if c.role == "control"}
    cells = [*plan.cells, *controls.values()]
    for cell in cells:
        failure = failures.get(cell.key) or standing.failed.get(cell.key)
        if failure is not None:
            outcome.failures[cell.key] = failure
            outcome.statuses[cell.key] = "failed"
        else:
            outcome.statuses[cell.key] = "resumed" if cell.key in standing.done else "done"
    write_json(
        store / "sweeps" / outcome.id / "sweep.json",
        {
            "schema_version": 1,
            "id": outcome.id,
            "created": stamp.isoformat(timespec="milliseconds"),
            "spec": spec.model_dump(mode="json"),
            "cells": [_listed(cell, outcome.statuses[cell.key]) for cell in cells],
            "skipped": [skipped.record() for skipped in plan.skipped],
            "failures": [failure.record() for failure in outcome.failures.values()],
            "problems": [{"key": k, "message": said} for k, said in problems.items()],
            "sessions": sessions_of(groups, past_sessions(store)),
            "baseline": reference_of(families(plan.cells)[0], plan.baseline).key,
            **(more or {}),
        },
    )
    return outcome


def _listed(cell: Cell, status: str) -> dict[str, Any]:
    record = cell.record()
    del record["identity"], record["schema_version"]
    return {**record, "status": status, **({"called": cell.called} if cell.called else {})}
