"""A sweep from its spec to committed bundles: resolve, plan, resume, provision, run, record."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.canonical import storage_errors
from harness.containers.strays import remove_strays
from harness.execution.commit import commit_inputs
from harness.execution.executors.base import Executor
from harness.execution.executors.local import LocalExecutor
from harness.execution.groups import Groups
from harness.execution.outcome import Outcome, record
from harness.execution.pacing import UNHURRIED, Pace, left_out, without
from harness.execution.resolve import Resolved, inputs_document, resolve_spec
from harness.execution.resuming import note_again, plan_standing, work_left
from harness.execution.standing import Standing, Work
from harness.execution.workspace import workspace
from harness.plan.build import Plan, build_plan
from harness.plan.proof import wants_forms
from harness.progress import Progress
from harness.spec.models import SweepSpec


def plan_sweep(spec: SweepSpec, progress: Progress) -> tuple[Resolved, Plan]:
    """Resolve and plan a sweep without running a cell of it; weights and pixels are made."""
    resolved = resolve_spec(spec, progress)
    return resolved, _plan_over(spec, resolved, {})


def _plan_over(spec: SweepSpec, resolved: Resolved, called: Mapping[str, str]) -> Plan:
    stacks = resolved.stacks.stacks
    return build_plan(spec, resolved.subjects, stacks, resolved.place, resolved.workshops, called)


@dataclass(frozen=True)
class Prepared:
    """What a caller resolved before, for several sweeps that differ in little.

    Attributes:
        resolved: what the sweep names; its stacks stay open, and what is provisioned for one
            sweep is kept in them for the next.
        called: what to call points of settings and wishes, by their `point_key`.
    """

    resolved: Resolved
    called: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Forecast:
    """What a sweep would do over a store.

    Attributes:
        plan: all that was asked for.
        standing: what the store holds of it already.
        works: what is left of each group.
    """

    plan: Plan
    standing: Standing
    works: tuple[Work, ...]


def foresee(spec: SweepSpec, store: Path, progress: Progress, *, retry: bool) -> Forecast:
    """Plan a sweep over a store as it is; nothing is run or written there."""
    resolved, plan = plan_sweep(spec, progress)
    resolved.stacks.close()
    groups, standing = plan_standing(spec, store, plan, retry=retry)
    works = work_left(spec, store, groups, standing, retry=retry)
    return Forecast(plan, standing, tuple(works))


def run_sweep(
    spec: SweepSpec,
    store: Path,
    progress: Progress,
    *,
    retry: bool = False,
    executor: Executor | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    prepared: Prepared | None = None,
    pace: Pace = UNHURRIED,
) -> Outcome:
    """Run what a spec asks for and the store does not hold yet.

    Args:
        spec: the sweep, with absolute paths.
        store: the results folder; made if it is missing.
        progress: where to report to.
        retry: run cells again that failed before.
        executor: where groups run; this machine by default.
        meanwhile: called when a group was started, for what takes time that nobody waits for then.
        prepared: what was resolved before; the caller closes it. By default all is resolved here.
        pace: who decides, while it runs, how much is done; by default all is.

    Raises:
        HarnessError: nothing could be planned, or the store cannot be written. What fails for
            single cells is recorded and told in the outcome.
    """
    with storage_errors(store):
        store.mkdir(parents=True, exist_ok=True)
        _check_writable(store)
    with contextlib.ExitStack() as held, workspace(store) as (space, ended):
        for pid in ended:
            progress.note(f"Ended process {pid}, left by a sweep that was killed.")
        if prepared is None:
            resolved, plan = plan_sweep(spec, progress)
            held.callback(resolved.stacks.close)
        else:
            resolved = prepared.resolved
            plan = _plan_over(spec, resolved, prepared.called)
        plan = pace.arranged(plan)
        if engine := resolved.stacks.engine:
            for name in remove_strays(engine):
                progress.note(f"Removed container {name}, left by a sweep that was killed.")
        groups, standing = plan_standing(spec, store, plan, retry=retry, at_once=pace.at_once)
        for cell in plan.cells:
            if failure := standing.failed.get(cell.key):
                progress.note(
                    f"Failed before, and not tried again without --retry: {cell.label} "
                    f"({failure.kind}): {failure.message}"
                )
        for key in {cell.inputs.inputs_key for cell in plan.cells}:
            _keep_inputs(store, key, resolved)
        _note_idle_limits(spec, plan, progress)
        executor = executor or LocalExecutor()
        run = Groups(spec, store, progress, resolved, space, executor, meanwhile, pace)
        works = pace.in_order(work_left(spec, store, groups, standing, retry=retry))
        note_again(works, standing, progress)
        run.carry_out(works, forms=wants_forms(spec, plan.cells))
        resolved.stacks.ready.update(run.provisioned)
        return record(
            spec,
            store,
            left_out(plan, run.left_out),
            [one for group in groups if (one := without(group, run.left_out))],
            standing,
            run.failures,
            run.problems,
            more={**({"study": True} if prepared is not None else {}), **pace.record()},
        )


def _note_idle_limits(spec: SweepSpec, plan: Plan, progress: Progress) -> None:
    """Say so where limits were set that bind containers only."""
    named = sorted(
        spec.limits.model_fields_set - {"timeout_seconds", "compile_seconds", "output_bytes"}
    )
    if named and any(cell.executor == "venv" for cell in plan.cells):
        progress.note(f"limits.{', limits.'.join(named)} bind containers; venv cells have none.")


def _keep_inputs(store: Path, key: str, resolved: Resolved) -> None:
    prepared = resolved.inputs[key]
    commit_inputs(
        store,
        key,
        inputs_document(prepared),
        {
            "name": np.array(prepared.names, dtype=object),
            "sha256": np.array(prepared.sha256, dtype=object),
            "label": np.array(prepared.labels, dtype=object),
        },
    )


def _check_writable(store: Path) -> None:
    trial = store / f".trial-{uuid.uuid4().hex[:8]}"
    try:
        trial.write_bytes(b"0")
    finally:
        trial.unlink(missing_ok=True)
