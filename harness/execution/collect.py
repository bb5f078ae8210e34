"""Taking in what a conductor tells: commits bundles as they come, records failures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.datasets.inputs import PreparedInputs
from harness.doctor.gpus import Gpu
from harness.doctor.machine import describe_machine
from harness.environments.provision import Provisioned
from harness.errors import ExecutionError
from harness.execution import attempts
from harness.execution.attempts import Failure
from harness.execution.commit import commit_answers, commit_artifact
from harness.execution.compiled_forms import add_form
from harness.execution.cores import keep_off
from harness.execution.documents import GroupDocument
from harness.execution.ir_bundles import commit_ir
from harness.execution.session_bundles import commit_session, reasons_against
from harness.plan.cells import Cell
from harness.progress import Progress, Task
from harness.spec.models import Limits

Event = Mapping[str, Any]

# What a runner leaves where a library does not show what it made.
_NOT_SHOWN = "not-kept.txt"


class Collector:
    """Listens to one group. What is announced is committed before the next event is read.

    Args:
        store: the results folder.
        cells: the group's members, by key.
        provisioned: their environments, by identity.
        limits: the sweep's, recorded with answers and failures.
        gpu: the GPU that the group runs on, as it was found before.
        inputs: prepared inputs, by inputs key.
        progress: where to show how far it is.
        note_worker: told the process number of every worker.
        unanswered: keys of the members whose answers are wanted; the others are only timed, or
            opened for what their backends compile.
        unkept: keys of the members of which what their backends compile is wanted.
        unproved: keys of the members that were answered before without saying, by a fingerprint,
            what they were compiled to, and are to say it now.

    After the group, `answered` holds the keys of the answers that were committed, `kept` of those of
    which what was compiled is kept or was refused for good, `proved` of those whose fingerprint was
    added to answers of before, `failures` why others were not
    answered, `broken` why conversions failed, by theirs, and `problems` what else a person must
    know: cells that were not timed, or of which what was compiled is not kept.
    """

    def __init__(
        self,
        *,
        store: Path,
        unanswered: frozenset[str],
        unkept: frozenset[str] = frozenset(),
        unproved: frozenset[str] = frozenset(),
        limits: Limits,
        gpu: Gpu | None = None,
        cells: Mapping[str, Cell],
        provisioned: Mapping[str, Provisioned],
        inputs: Mapping[str, PreparedInputs],
        progress: Progress,
        note_worker: Callable[[int], None],
    ) -> None:
        self._store, self._cells = store, cells
        self._provisioned, self._inputs = provisioned, inputs
        self._progress, self._note_worker = progress, note_worker
        self._bar = contextlib.ExitStack()
        self._task: Task | None = None
        self._shown = 0
        self._unanswered, self._unkept, self._unproved = unanswered, unkept, unproved
        self._limits, self._gpu = limits, gpu
        self._started: dict[str, str] = {}
        self._off = contextlib.ExitStack()
        self._told: set[str] = set()
        self._unopened: dict[str, str] = {}
        self._missed: set[tuple[str, str]] = set()
        self.answered: set[str] = set()
        self.kept: set[str] = set()
        self.proved: set[str] = set()
        self.broken: dict[str, Failure] = {}
        self.failures: dict[str, Failure] = {}
        self.problems: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._off.close()
        self._bar.close()

    def on(self, event: Event) -> None:
        """Take one event in.

        Raises:
            StoreError: the store is full or read-only; what was committed is kept.
        """
        handler = getattr(self, f"_on_{event['event'].replace('-', '_')}", None)
        if handler is not None:
            handler(event)

    def ended(self, document: GroupDocument, log: Path) -> None:
        """Record what the conductor left open when it ended."""
        said = attempts.tail(log, 2000).strip()
        why = f" Its last words: {said.splitlines()[-1]}" if said else ""
        for task in document.cells:
            if task.answers and task.key not in self.answered | set(self.failures):
                self._fail(task.key, "engine", f"The conductor ended too early.{why}", said, None)
        early = f"the conductor ended early.{why}"
        for key in (task.key for task in document.cells if task.key not in self.failures):
            if key in self._unkept - self.kept:
                self._not_kept(key, self._unopened.get(key, early))
            if key in self._unproved - self.proved:
                self._not_proved(key, self._unopened.get(key, early))
            if document.session is not None:
                if key in self._unopened:
                    self._not_timed(key, self._unopened[key])
                elif key not in self._told:
                    self._not_timed(key, early)

    def _on_worker(self, event: Event) -> None:
        if "pid" in event:  # containers carry labels instead
            self._note_worker(int(event["pid"]))

    def _on_left_behind(self, event: Event) -> None:
        self._progress.note(
            f"Container {event['container'][:12]} could not be removed ({event['reason']}); the "
            "next sweep does."
        )

    def _on_converting(self, event: Event) -> None:
        self._show(f"Converting {event['label']}", None)

    def _on_converted(self, event: Event) -> None:
        conversion = next(
            step
            for cell in self._cells.values()
            for step in (cell.conversion.chain if cell.conversion else ())
            if step.key == event["key"]
        )
        made, check = Path(event["folder"]), event["check"]
        commit_artifact(self._store, conversion, made, event["result"], check)
        if check is None or check["note"]:
            why = "nothing here can run it" if check is None else check["note"]
            self._progress.note(f"Not compared with its source: {conversion.label}: {why}.")

    def _on_checking(self, event: Event) -> None:
        self._show(f"Checking what was made by {event['label']}", None)

    def _on_not_converted(self, event: Event) -> None:
        """Keep why, for the groups after this one: what failed once is not tried again by each."""
        self.broken[event["key"]] = Failure(
            event["key"],
            event["kind"],
            event["message"],
            event["detail"],
            event["exit_status"],
            event["signal"],
            limits=event["limits"],
        )

    def _on_opening(self, event: Event) -> None:
        self._started[event["key"]] = attempts.now()
        self._show(f"Loading {event['label']}", None)

    def _on_answering(self, event: Event) -> None:
        self._show(self._cells[event["key"]].label, int(event["total"]))

    def _on_progress(self, event: Event) -> None:
        self._advance(int(event["done"]))

    def _on_compiled(self, event: Event) -> None:
        """Keep what a backend compiled; what is refused is told once, and costs no answer."""
        cell = self._cells[event["key"]]
        try:
            kept = commit_ir(self._store, cell.key, Path(event["folder"]), event["files"])
        except ExecutionError as error:
            self._not_kept(cell.key, str(error))
        else:
            if not event["files"]:
                self._progress.note(
                    f"{cell.label}: this backend shows nothing of what it compiles."
                )
            if _NOT_SHOWN in event["files"]:
                self._not_kept(cell.key, f"not all that it compiled; why is in {kept / _NOT_SHOWN}")
        self.kept.add(cell.key)

    def _on_proved(self, event: Event) -> None:
        """Add what was compiled to the answers that were there before."""
        add_form(self._store, event["key"], event["compiled"])
        self.proved.add(event["key"])

    def _on_answered(self, event: Event) -> None:
        cell = self._cells[event["key"]]
        prepared = self._inputs[cell.inputs.inputs_key]
        labels = [label for label in prepared.labels if label is not None]
        try:
            commit_answers(
                self._store,
                cell,
                made=Path(event["folder"]),
                loaded=event["loaded"],
                reply=event["reply"],
                opened_ns=event.get("opened_ns"),
                environment=self._environment(cell),
                count=prepared.count,
                classes=len(prepared.classes) if prepared.classes and labels else None,
                largest_label=max(labels, default=None),
            )
        except ExecutionError as error:
            log = Path(event["folder"]) / "log.txt"
            self._fail(cell.key, error.kind, str(error), error.detail, log)
            return
        self.answered.add(cell.key)

    def _on_failed(self, event: Event) -> None:
        key, reason = event["key"], f"({event['kind']}) {event['message']}"
        if key not in self._unanswered:
            if key not in self._unkept | self._unproved:
                self._not_timed(key, reason)
                return
            self._unopened[key] = reason  # whether it was to be timed too is known at the end
            if key in self._unkept - self.kept:
                self._not_kept(key, reason)
            if key in self._unproved - self.proved:
                self._not_proved(key, reason)
            return
        log = Path(event["log"]) if event["log"] else None
        self._fail(
            event["key"],
            event["kind"],
            event["message"],
            event["detail"],
            log,
            exit_status=event["exit_status"],
            signal=event["signal"],
            limits=event["limits"],
        )

    def _on_searching(self, event: Event) -> None:
        """As `_on_timing`; the next that is timed takes it over, or the end of the group."""
        self._keep_off(event["cores"])
        self._show(f"Trying batch {event['batch']}: {event['label']}", None)

    def _on_part(self, event: Event) -> None:
        self._progress.note(
            f"{event['loaded']} cells fill the free memory; {event['left']} are timed after them, "
            "beside the same reference."
        )

    def _on_timing(self, event: Event) -> None:
        """This process too keeps off the cores on which others are being timed."""
        self._keep_off(event["cores"])
        offline = ", offline" if event["scenario"] == "offline" else ""
        self._show(f"Timing {event['members']} cells in turn{offline}", int(event["rounds"]))

    def _keep_off(self, cores: Sequence[int]) -> None:
        self._off.close()
        self._off.enter_context(keep_off(cores))

    def _on_round(self, event: Event) -> None:
        self._advance(int(event["done"]))

    def _on_timed(self, event: Event) -> None:
        self._off.close()
        try:
            document = commit_session(self._store, Path(event["folder"]), event["outputs"])
        except ExecutionError as error:
            for key in event["members"]:
                self._not_timed(key, str(error))
        else:
            self._tell_reasons(reasons_against(document))
        for key, reason in event["dropped"].items():
            self._not_timed(key, reason)
        self._told |= {*event["members"], *event["dropped"]}

    def _on_not_timed(self, event: Event) -> None:
        self._off.close()
        for key in event["keys"]:
            self._not_timed(key, event["reason"])
        self._told |= set(event["keys"])

    def _tell_reasons(self, reasons: Iterable[Mapping[str, str]]) -> None:
        """Say why times may not be believed; cells of which the same is said stand together."""
        whose: dict[str, list[Mapping[str, str]]] = {}
        for reason in reasons:
            whose.setdefault(reason["kind"], []).append(reason)
        for kind, same in whose.items():
            labels = [self._cells[one["key"]].label for one in same if "key" in one]
            of = f" {labels[0]}" if labels else " this session"
            more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
            self._progress.note(f"INVALID ({kind}):{of}{more}: {same[0]['message']}")

    def _not_timed(self, key: str, reason: str) -> None:
        """Its answers are kept: a cell that cannot be timed has not failed."""
        self._miss(key, "Not timed", "not timed", reason)

    def _not_kept(self, key: str, reason: str) -> None:
        """Nor has one failed of which only what its backend compiles is missing."""
        self._miss(key, "IR not kept", "IR not kept", reason)

    def _not_proved(self, key: str, reason: str) -> None:
        self._miss(key, "Compiled form not known", "compiled form not known", reason)

    def _miss(self, key: str, what: str, inside: str, reason: str) -> None:
        if (key, what) in self._missed:
            return
        self._missed.add((key, what))
        before = f"{self.problems[key]}; " if key in self.problems else ""
        self.problems[key] = f"{before}{inside}: {reason}"
        self._progress.note(f"{what}: {self._cells[key].label}: {reason}")

    def _fail(
        self,
        key: str,
        kind: str,
        message: str,
        detail: str,
        log: Path | None,
        *,
        exit_status: int | None = None,
        signal: int | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        cell = self._cells[key]
        started = self._started.get(key, "")
        under = self._limits.model_dump(exclude={"compile_seconds"}) if limits is None else limits
        failure = Failure(key, kind, message, detail, exit_status, signal, started, under)
        attempts.keep(self._store, failure, cell.record(), log)
        self.failures[key] = failure
        self._progress.note(f"Failed: {cell.label} ({kind}): {message}")

    def _environment(self, cell: Cell) -> dict[str, Any]:
        made = self._provisioned[cell.environment_identity]
        base = made.env.base
        limits: dict[str, Any] = {"output_bytes": cell.output_bytes, "threads": cell.threads}
        if made.image is not None:
            limits |= self._limits.model_dump(exclude={"timeout_seconds", "compile_seconds"})
        return {
            "schema_version": 1,
            "name": cell.environment,
            "identity": cell.environment_identity,
            "reference": made.env.reference,
            "lock_sha256": made.env.lock_sha256,
            "python": made.env.python,
            "packages": dict(made.packages),
            "backend": dict(made.probe.get("backends", {}).get(cell.backend, {})),
            "builds": made.probe.get("builds", {}),
            "executor": cell.executor,
            "image": made.image,
            "base": None if base is None else {"reference": base.reference, "digest": base.digest},
            "machine": describe_machine(self._gpu),
            "limits": limits,
        }

    def _show(self, text: str, total: int | None) -> None:
        self._bar.close()
        self._task = self._bar.enter_context(self._progress.task(text, total))
        self._shown = 0

    def _advance(self, done: int) -> None:
        if self._task is not None and done > self._shown:
            self._task.advance(done - self._shown)
            self._shown = done
