"""A plan beside what the store holds of it: which groups, how their cells stand, what is left."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.execution.bundles import is_whole
from harness.execution.compiled_forms import has_form
from harness.execution.ir_bundles import ir_folder
from harness.execution.standing import Standing, Work, look, remaining
from harness.plan.build import Plan
from harness.plan.groups import MEMBERS_AT_ONCE, Group, make_groups
from harness.plan.proof import wants_forms
from harness.progress import Progress
from harness.spec.models import SweepSpec


def plan_standing(
    spec: SweepSpec,
    store: Path,
    plan: Plan,
    *,
    retry: bool,
    at_once: int = MEMBERS_AT_ONCE,
) -> tuple[list[Group], Standing]:
    """The groups without cells that are known to fail, and how all their cells stand."""
    limits = spec.limits.model_dump()
    limits["compile_seconds"] = spec.limits.compile_seconds or spec.limits.timeout_seconds
    limits |= {
        f"conversions.{name}": value for name, value in spec.conversions.model_dump().items()
    }
    standing = look(store, plan.cells, retry=retry, limits=limits)
    live = [cell for cell in plan.cells if cell.key not in standing.failed]
    groups = make_groups(
        live,
        baseline=plan.baseline,
        timed=spec.timing.enabled,
        control=spec.timing.control,
        scenarios=spec.timing.scenarios,
        at_once=at_once,
    )
    controls = {c.key: c for group in groups for c in group.cells if c.role == "control"}
    standing = standing.joined(look(store, controls.values(), retry=retry, limits=limits))
    return [
        Group(
            tuple(cell for cell in group.cells if cell.key not in standing.failed),
            group.reference,
            None if group.control in standing.failed else group.control,
            group.scenario,
        )
        for group in groups
    ], standing


def work_left(
    spec: SweepSpec, store: Path, groups: list[Group], standing: Standing, *, retry: bool
) -> list[Work]:
    """What is left of each group."""
    batches = spec.timing.offline_batches
    cells = [cell for group in groups for cell in group.cells]
    return remaining(
        groups,
        standing,
        spec.timing.rounds,
        partial(_has_ir, spec, store),
        has_form=partial(has_form, store) if wants_forms(spec, cells) else lambda _: True,
        batches=None if batches == "auto" else batches,
        fresh=spec.timing.fresh_processes,
        retry=retry,
    )


def note_again(works: list[Work], standing: Standing, progress: Progress) -> None:
    """Say which cells are timed again only because their times are INVALID."""
    for work in works:
        known = {
            cell.key: kinds
            for cell in work.members
            for session in standing.sessions
            if cell.key in session.members
            and session.scenario == work.group.scenario
            and (kinds := session.against_pair(cell.key))
        }
        if work.timed and known and not work.unanswered:
            why = ", ".join(sorted(frozenset().union(*known.values())))
            progress.note(
                f"Timed again, as its times so far are INVALID ({why}): {work.group.label}"
            )


def _has_ir(spec: SweepSpec, store: Path, key: str) -> bool:
    """Whether what a cell's backend compiles is kept, or nobody asked for it."""
    return not spec.keep_ir or is_whole(ir_folder(store, key))
