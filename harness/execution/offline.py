"""The scenario `offline`: the batch at which each cell does the most, each tried by itself."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ExecutionError
from harness.execution.batch_search import Tried, best_batch, next_batch
from harness.execution.documents import CellTask, SessionTask
from harness.execution.room import Memory, Room
from harness.execution.rounds import iterations_for
from harness.execution.workers import Worker
from harness.trees import remove_tree

_WARMUP_LEAST = 2
_WARMUP_MOST = 10_000
# Half a second is enough to tell 5 % apart, and a call of any length is there three times.
_TRIAL_NS = 500_000_000
_TRIAL_CALLS = 3

Open = Callable[[CellTask, int, Path], tuple[Worker, dict[str, Any]]]


class BatchSearch:
    """Finds the batch of each cell; nothing else is loaded meanwhile.

    Args:
        session: how cells are timed.
        folder: below which each trial has its own.
        open_at: opens a cell with a batch, in a folder; the worker is loaded.
        timeout_s: how long a command may take.
        room: the machine's free memory.
        tell: writes an event.
    """

    def __init__(
        self,
        session: SessionTask,
        folder: Path,
        open_at: Open,
        timeout_s: float,
        room: Room,
        tell: Callable[..., None],
    ) -> None:
        self._session, self._folder, self._open_at = session, folder, open_at
        self._timeout_s, self._room, self._tell = timeout_s, room, tell
        self.found: dict[str, list[dict[str, Any]]] = {}

    def best(self, task: CellTask, taken: Sequence[int]) -> int | None:
        """The batch at which a cell does the most; None where it could not be run at any.

        What was tried is in `found` then, by the cell's key.

        Args:
            task: the cell.
            taken: the cores that whoever is told keeps off meanwhile.
        """
        tried: list[Tried] = []
        own = int(task.job.get("batch", 1))
        while (batch := next_batch(tried, self._session.offline_batches, own)) is not None:
            self._tell("searching", key=task.key, label=task.label, batch=batch, cores=list(taken))
            free = self._room.free()
            one, took = self._try(task, batch)
            tried.append(one)
            # The weights stay the same; at worst all of it grows with the batch.
            if self._session.offline_batches is None and not free.holds(took.times(2)):
                more = "not tried: twice as many might not fit in the free memory"
                tried.append(Tried(batch * 2, refused=more))
        self.found[task.key] = [one.record() for one in tried]
        return best_batch(tried, self._session.floor)

    def why_not(self, task: CellTask) -> str:
        """Why a cell could not be run at any batch."""
        refused = [one for one in self.found.get(task.key, []) if "refused" in one]
        return f"batch {refused[0]['batch']}: {refused[0]['refused']}" if refused else "not tried"

    def _try(self, task: CellTask, batch: int) -> tuple[Tried, Memory]:
        """Open it with a batch, warm it up, and time a few calls; and what that took of memory."""
        folder = self._folder / task.key / str(batch)
        folder.mkdir(parents=True)
        before = self._room.free()
        worker: Worker | None = None
        try:
            worker, _ = self._open_at(task, batch, folder)
            durations = self._durations(worker)
            taken = self._room.free().since(before)
            per_second = batch * len(durations) * 1e9 / sum(durations)
            return Tried(batch, per_second, statistics.median(durations)), taken
        except ExecutionError as error:
            return Tried(batch, refused=f"({error.kind}) {error}"), Memory(None)
        finally:
            if worker is not None:
                worker.close()
            remove_tree(folder)

    def _durations(self, worker: Worker) -> list[int]:
        """Nanoseconds of a few calls after a warm-up."""
        warm = self._command(
            worker,
            {
                "command": "warmup",
                "min_iterations": _WARMUP_LEAST,
                "max_iterations": _WARMUP_MOST,
                "max_duration_ns": self._session.warmup_ns,
            },
        )
        iterations = max(_TRIAL_CALLS, iterations_for(warm["durations_ns"], _TRIAL_NS))
        timed = self._command(worker, {"command": "round", "iterations": iterations, "warmup": 1})
        return [int(ns) for ns in timed["durations_ns"]]

    def _command(self, worker: Worker, document: dict[str, Any]) -> dict[str, Any]:
        return worker.command(document, self._timeout_s, lambda _: None)
