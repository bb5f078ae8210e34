"""The groups of one sweep, carried out: provisioned, handed to the executor, followed to their end."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from harness.environments.provide import provide
from harness.environments.provision import Provisioned
from harness.errors import EngineError, HarnessError, ProvisionError, StoreError
from harness.execution import attempts
from harness.execution.assemble import group_document, session_task
from harness.execution.attempts import Failure
from harness.execution.bundles import answers_folder, is_whole
from harness.execution.collect import Collector
from harness.execution.conversion_tasks import fault_of_kept, missing
from harness.execution.documents import GroupDocument, SessionTask
from harness.execution.executors.base import Executor
from harness.execution.offers import refusal
from harness.execution.pacing import UNHURRIED, Order, Pace
from harness.execution.resolve import Resolved, runner_parent
from harness.execution.scheduler import DEVICE_LANE, LANES, Ended, Job, Scheduler
from harness.execution.standing import Work
from harness.execution.workspace import Workspace, leased_devices
from harness.plan.cells import Cell
from harness.progress import Progress
from harness.spec.models import SweepSpec

_POLL_S = 0.5


class Groups:
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
