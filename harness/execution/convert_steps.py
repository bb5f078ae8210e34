"""What becomes of the steps of one conversion: taken in as they come, and told of each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from harness.execution import attempts
from harness.execution.attempts import Failure
from harness.execution.commit import commit_artifact
from harness.execution.conversion_tasks import fault_of, kept_checks
from harness.plan.conversions import Conversion
from harness.progress import Progress
from harness.spec.models import Conversions

Event = Mapping[str, Any]


@dataclass(frozen=True)
class StepDone:
    """A step, and what became of it.

    Attributes:
        conversion: the step.
        status: `made` now, `kept` from before, `failed`, or `not reached` after one that failed.
        seconds: that making and checking it took; None where it was not made now.
        check: what its check found, as `artifact.json` holds it; None: nobody could run it.
    """

    conversion: Conversion
    status: Literal["made", "kept", "failed", "not reached"]
    seconds: float | None = None
    check: Mapping[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """The step as documents hold it."""
        check = None if self.check is None else dict(self.check)
        state = {"status": self.status, "seconds": self.seconds, "check": check}
        return {**self.conversion.record(), **state}


def kept_steps(
    store: Path, conversion: Conversion, spec: Conversions
) -> tuple[list[StepDone], Failure | None]:
    """The steps that are there already, and why one is not good enough for what is asked now.

    A step that was checked under a larger tolerance counts as failed where it is further off than
    the tolerance of now.
    """
    found: list[StepDone] = []
    for step, check in kept_checks(store, conversion, spec):
        record = None if check is None else check.record()
        fault = fault_of(step, check)
        if fault is not None:
            later = conversion.chain[len(step.chain) :]
            missed = [StepDone(one, "not reached") for one in later]
            return [*found, StepDone(step, "failed", check=record), *missed], fault
        found.append(StepDone(step, "kept", check=record))
    return found, None


class StepListener:
    """Listens to a conductor that makes the steps of a conversion; each is kept as it comes.

    Args:
        store: where what is made is kept.
        todo: the steps, in order.
        results: the folder that the conductor writes to.
        progress: where to show how far it is.
        note_worker: told the process number of every worker.

    In the end `failure` says why a step failed and `log` where that step's log is.
    """

    def __init__(
        self,
        store: Path,
        todo: Sequence[Conversion],
        results: Path,
        progress: Progress,
        note_worker: Callable[[int], None],
    ) -> None:
        self._store, self._todo = store, {step.key: step for step in todo}
        self._progress, self._note_worker = progress, note_worker
        self._bar = contextlib.ExitStack()
        self._begun: dict[str, float] = {}
        self._done: dict[str, StepDone] = {}
        self._results = results
        self.failure: Failure | None = None
        self.log: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    @property
    def steps(self) -> list[StepDone]:
        """Every step, and what became of it."""
        return [
            self._done.get(key, StepDone(step, "not reached")) for key, step in self._todo.items()
        ]

    def on(self, event: Event) -> None:
        """Take one event in.

        Raises:
            StoreError: the cache is full or read-only; what was committed is kept.
        """
        handler = getattr(self, f"_on_{event['event'].replace('-', '_')}", None)
        if handler is not None:
            handler(event)

    def ended(self) -> None:
        """Record what the conductor left open when it ended."""
        left = [key for key in self._todo if key not in self._done]
        if self.failure is not None or not left:
            return
        log = self._results / "conductor.log"
        said = attempts.tail(log, 2000).strip()
        why = f" Its last words: {said.splitlines()[-1]}" if said else ""
        message = f"{self._todo[left[0]].label}: the conductor ended too early.{why}"
        self._fail(Failure(left[0], "engine", message, said), log)

    def _on_worker(self, event: Event) -> None:
        if "pid" in event:  # containers carry labels instead
            self._note_worker(int(event["pid"]))

    def _on_left_behind(self, event: Event) -> None:
        self._progress.note(
            f"Container {event['container'][:12]} could not be removed ({event['reason']}); the "
            "next sweep does."
        )

    def _on_converting(self, event: Event) -> None:
        self._begun[event["key"]] = time.monotonic()
        self._show(f"Converting {event['label']}")

    def _on_checking(self, event: Event) -> None:
        self._show(f"Checking what was made by {event['label']}")

    def _on_converted(self, event: Event) -> None:
        step, check = self._todo[event["key"]], event["check"]
        commit_artifact(self._store, step, Path(event["folder"]), event["result"], check)
        seconds = time.monotonic() - self._begun[step.key]
        self._done[step.key] = StepDone(step, "made", seconds, check)

    def _on_not_converted(self, event: Event) -> None:
        if self.failure is not None:
            return  # only because the one before it was not made
        failure = Failure(
            event["key"],
            event["kind"],
            event["message"],
            event["detail"],
            event["exit_status"],
            event["signal"],
            limits=event["limits"],
        )
        self._fail(failure, self._results / "artifacts" / failure.key / "log.txt")

    def _fail(self, failure: Failure, log: Path | None) -> None:
        """Keep why, with the log, which is in a folder that goes."""
        step = self._todo[failure.key]
        begun = self._begun.get(step.key)
        seconds = None if begun is None else time.monotonic() - begun
        self._done[step.key] = StepDone(step, "failed", seconds)
        self.failure = failure
        kept = attempts.keep(self._store, failure, step.record(), log)
        self.log = kept / "log.txt"

    def _show(self, text: str) -> None:
        self._bar.close()
        self._bar.enter_context(self._progress.task(text))
