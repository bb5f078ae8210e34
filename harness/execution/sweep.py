"""A sweep from its spec to committed bundles: resolve, plan, resume, provision, run, record."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from harness.canonical import storage_errors
from harness.containers.strays import remove_strays
from harness.environments.provide import provide
from harness.environments.provision import Provisioned
from harness.errors import EngineError, HarnessError, ProvisionError, StoreError
from harness.execution import attempts
from harness.execution.assemble import group_document, session_task
from harness.execution.attempts import Failure
from harness.execution.bundles import answers_folder, is_whole
from harness.execution.collect import Collector
from harness.execution.commit import commit_inputs
from harness.execution.conversion_tasks import fault_of_kept, missing
from harness.execution.documents import GroupDocument, SessionTask
from harness.execution.executors.base import Executor
from harness.execution.executors.local import LocalExecutor
from harness.execution.offers import refusal
from harness.execution.outcome import Outcome, record
from harness.execution.pacing import UNHURRIED, Order, Pace, left_out, without
from harness.execution.resolve import Resolved, inputs_document, resolve_spec, runner_parent
from harness.execution.resuming import note_again, plan_standing, work_left
from harness.execution.scheduler import DEVICE_LANE, LANES, Ended, Job, Scheduler
from harness.execution.standing import (
    Standing,
    Work,
)
from harness.execution.workspace import Workspace, leased_devices, workspace
from harness.plan.build import Plan, build_plan
from harness.plan.cells import Cell
from harness.plan.proof import wants_forms
from harness.progress import Progress
from harness.spec.models import SweepSpec

_POLL_S = 0.5


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
        run = _Run(spec, store, progress, resolved, space, executor, meanwhile, pace)
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


class _Run:
    """The part of a sweep that needs environments and workers."""

    def __init__(
        self,
        spec: SweepSpec,
        store: Path,
        progress: Progress,
        resolved: Resolved,
        space: Workspace,
        executor: Executor,
        meanwhile: Callable[[], None] = lambda: None,
        pace: Pace = UNHURRIED,
    ) -> None:
        self._spec, self._store, self._progress = spec, store, progress
        self._resolved, self._space, self._executor = resolved, space, executor
        self._meanwhile, self._pace = meanwhile, pace
        self._waiting: list[Work] = []
        self.provisioned: dict[str, Provisioned] = dict(resolved.stacks.ready)
        self._unavailable: dict[str, HarnessError] = {}
        self._answered: set[str] = set()
        self._kept: set[str] = set()
        self._proved: set[str] = set()
        self._forms = False
        self._broken: dict[str, Failure] = {}
        self.failures: dict[str, Failure] = {}
        self.problems: dict[str, str] = {}
        self.left_out: dict[str, str] = {}

    def carry_out(self, works: list[Work], *, forms: bool = False) -> None:
        """Provision what is needed, then run group after group.

        Args:
            works: what is left of each group.
            forms: whether answers say, by a fingerprint, what was compiled.
        """
        by_name = {f"group:{number}": work for number, work in enumerate(works)}
        self._forms = forms
        self._waiting = list(works)
        wanted = {
            name: {identity for cell in work.members for identity in self._wanted(cell)}
            for name, work in by_name.items()
        }
        needed = {identity for identities in wanted.values() for identity in identities}
        jobs = [Job(f"env:{identity}", "provision") for identity in sorted(needed)]
        jobs += [
            Job(
                name,
                DEVICE_LANE,
                wants=tuple(f"env:{identity}" for identity in sorted(wanted[name])),
            )
            for name in by_name
        ]
        scheduler = Scheduler(jobs)
        with ThreadPoolExecutor(max_workers=LANES["provision"]) as pool:
            running: dict[Future[None], str] = {}
            while not scheduler.finished:
                for name in scheduler.start():
                    if name in by_name:
                        self._run_group(by_name[name])
                        scheduler.on(Ended(name, ok=True))
                    else:
                        running[pool.submit(self._provision, name.removeprefix("env:"))] = name
                if running:
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        name = running.pop(future)
                        future.result()
                        ok = name.removeprefix("env:") in self.provisioned
                        scheduler.on(Ended(name, ok=ok))

    def _environments(self, cell: Cell) -> set[str]:
        """What a cell needs: its own, and those that convert what is not converted yet."""
        steps = missing(cell.conversion, self._store) if cell.conversion else ()
        return {cell.environment_identity, *(step.environment_identity for step in steps)}

    def _wanted(self, cell: Cell) -> set[str]:
        """What a cell needs, and those that check conversions; without them it runs unchecked."""
        steps = missing(cell.conversion, self._store) if cell.conversion else ()
        checkers = [one for step in steps for one in (step.source_checker, step.checker) if one]
        return self._environments(cell) | {one.environment_identity for one in checkers}

    def _provision(self, identity: str) -> None:
        if identity in self.provisioned:
            return
        stacks = self._resolved.stacks
        env = stacks.environments[identity]
        try:
            self.provisioned[identity] = provide(env, self._progress, stacks.engine)
        except (ProvisionError, EngineError, StoreError) as error:
            self._unavailable[identity] = error
            self._progress.note(f"{env.name} cannot be made: {error}")

    def _run_group(self, work: Work) -> None:
        self._waiting.remove(work)
        order = self._pace.before(work, tuple(self._waiting))
        self._note_left_out(work, order)
        members = [cell for cell in self._available(work) if cell.key not in order.left_out]
        unanswered = work.unanswered - self._answered
        unkept = work.unkept - self._kept
        unproved = work.unproved - self._proved
        if not members or not (work.timed or unanswered or unkept or unproved):
            return
        keys = {cell.key for cell in members}
        results = self._space.path / uuid.uuid4().hex[:8]
        document = group_document(
            self._spec,
            members,
            unanswered=unanswered,
            unkept=unkept,
            proved=unproved | (unanswered if self._forms else frozenset()),
            session=self._session(work, keys, members, order) if work.timed else None,
            store=self._store,
            results=results,
            runner=runner_parent(),
            provisioned=self.provisioned,
            inputs=self._resolved.inputs,
            owner=self._space.owner,
        )
        collector = Collector(
            store=self._store,
            cells={cell.key: cell for cell in members},
            provisioned=self.provisioned,
            inputs=self._resolved.inputs,
            progress=self._progress,
            note_worker=self._space.note_worker,
            unanswered=unanswered,
            unkept=unkept,
            unproved=unproved,
            limits=self._spec.limits,
            gpu=self._resolved.gpus.get(members[0].gpu or ""),
        )
        with leased_devices(members[0].gpu, self._progress):
            self._follow(document, collector)
        self._answered |= collector.answered
        self.left_out = {k: why for k, why in self.left_out.items() if k not in self._answered}
        self._kept |= collector.kept
        self._proved |= collector.proved
        self.failures.update(collector.failures)
        self._broken.update(collector.broken)
        for key, said in collector.problems.items():
            before = f"{self.problems[key]}; " if key in self.problems else ""
            self.problems[key] = f"{before}{said}"
        self._pace.after(work)

    def _note_left_out(self, work: Work, order: Order) -> None:
        """Cells without answers are skipped then; those that have some go without their times."""
        for cell in work.members:
            reason = order.left_out.get(cell.key)
            if reason is None:
                continue
            if cell.key in work.unanswered - self._answered:
                self.left_out[cell.key] = reason
                if order.aloud:
                    self._progress.note(f"{cell.label}: {reason}")
            else:
                self._missed(cell, work, reason)

    def _follow(self, document: GroupDocument, collector: Collector) -> None:
        name = self._executor.submit(document)
        with self._cancelled_on_error(name), collector:
            self._meanwhile()
            poll = self._executor.poll(name, _POLL_S)
            while poll.running:
                for event in poll.events:
                    collector.on(event)
                poll = self._executor.poll(name, _POLL_S)
            collector.ended(document, self._executor.fetch(name) / "conductor.log")

    @contextlib.contextmanager
    def _cancelled_on_error(self, name: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._executor.cancel(name)
            raise

    def _available(self, work: Work) -> list[Cell]:
        """The members that can run; the others are recorded as failed."""
        members: list[Cell] = []
        for cell in work.members:
            if cell.key in self.failures:
                continue  # it failed in a group before this one
            failure = self._hopeless(cell)
            if failure is None:
                members.append(cell)
            elif cell.key not in work.unanswered:
                self._missed(cell, work, failure.message)
            else:
                attempts.keep(self._store, failure, cell.record(), None)
                self.failures[cell.key] = failure
        return members

    def _missed(self, cell: Cell, work: Work, reason: str) -> None:
        """Say what a cell that was answered before goes without."""
        missed = ["IR not kept"] if cell.key in work.unkept - self._kept else []
        missed += ["compiled form not known"] if cell.key in work.unproved - self._proved else []
        missed += ["not timed"] if work.timed else []
        if missed and cell.key not in self.problems:
            what = " and ".join(missed)
            self.problems[cell.key] = f"{what}: {reason}"
            self._progress.note(f"{what[0].upper()}{what[1:]}: {cell.label}: {reason}")

    def _hopeless(self, cell: Cell) -> Failure | None:
        """Why a cell cannot run: an environment that cannot be made, a conversion that failed."""
        for identity in sorted(self._environments(cell)):
            if error := self._unavailable.get(identity):
                return Failure(cell.key, "environment", str(error))
        made = self.provisioned.get(cell.environment_identity)
        if made is not None and (why := refusal(cell, made.probe)):
            return Failure(cell.key, "unsupported", why)
        for step in cell.conversion.chain if cell.conversion else ():
            if broken := self._broken.get(step.key):
                return replace(broken, key=cell.key)
        # What is done stays done; whatever is made now is made under the tolerance of now.
        if cell.conversion and not is_whole(answers_folder(self._store, cell.key)):
            fault = fault_of_kept(self._store, cell.conversion, self._spec.conversions)
            return fault and replace(fault, key=cell.key)
        return None

    def _session(
        self, work: Work, keys: set[str], members: list[Cell], order: Order
    ) -> SessionTask:
        group = work.group
        return session_task(
            order.timing or self._spec.timing,
            group.scenario,
            group.reference if group.reference in keys else members[0].key,
            group.control if group.control in keys else None,
        )
