"""The conductor: carries a group document out at the place where the cells run.

`python -m harness.execution.conductor GROUP.json` opens workers, collects answers and has them
timed. Events are JSON lines on standard output; results are files in the
group's folder, which the orchestrator checks and commits. Standard input is a pipe held by
whoever started it: when that end closes, every worker is ended and so is the conductor.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import EXIT_INTERRUPTED, ExecutionError
from harness.execution.caches import Caches
from harness.execution.converting import Converting
from harness.execution.documents import CellTask, GroupDocument
from harness.execution.opening import Opener
from harness.execution.proof import check_device
from harness.execution.sessions import Sessions
from harness.execution.turns import Member
from harness.execution.workers import Worker
from harness.trees import remove_tree, temporary_folder

_KILL_SECONDS = 15.0
# Below this much free space, libraries die in many ways and few say why.
_ROOM_BYTES = 1 << 20
_SAYS_ENOUGH = frozenset({"timeout", "out-of-memory", "output-limit", "wrong-device", "disk-full"})


class Conductor:
    """Leads one group. Workers are opened one after the other and kept while they are needed."""

    def __init__(self, group: GroupDocument, sockets: Path) -> None:
        self._group = group
        self._sockets = sockets
        self._events = threading.Lock()
        self._opener = Opener(group, sockets, self.tell)
        self._caches = Caches()
        self._conversions = Converting(group, self._opener.start, self._opener.forget, self.tell)

    def run(self) -> None:
        """Convert, answer, time; each failure is told and the rest goes on."""
        try:
            for conversion in self._group.conversions:
                self._conversions.make(conversion)
            if self._group.session is not None:
                Sessions(self._group, self._opener, self._answer, self._open_at, self.tell).run()
                return
            for cell in self._group.cells:
                self._answer(cell)
                self._opener.close(cell.key)
        finally:
            for worker in list(self._opener.open.values()):
                worker.close()
            for container in self._opener.containers:
                if container.left_behind:
                    self.tell("left-behind", container=container.id, reason=container.left_behind)
            self._caches.prune()

    def kill_workers(self) -> None:
        """End every worker at once; an engine that does not answer is not waited for long."""
        killers = [
            threading.Thread(target=worker.kill, daemon=True)
            for worker in list(self._opener.open.values())
        ]
        for killer in killers:
            killer.start()
        for killer in killers:
            killer.join(_KILL_SECONDS)

    def remove_sockets(self) -> None:
        """Remove the sockets' folder."""
        remove_tree(self._sockets)

    def tell(self, event: str, **fields: Any) -> None:
        """Write one event."""
        with self._events:
            sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
            sys.stdout.flush()

    def _answer(self, task: CellTask) -> Member | None:
        """Open a cell, get its answers if they are wanted, and leave it open."""
        folder = _fresh(self._group.results / "cells" / task.key)
        self.tell("opening", key=task.key, label=task.label)
        worker: Worker | None = None
        started_ns = time.monotonic_ns()
        try:
            job = self._job_of(task)
            worker, loaded = self._opened(task, job, folder)
            opened_ns = time.monotonic_ns() - started_ns
            if job.get("keep_ir"):
                self.tell("compiled", key=task.key, folder=str(folder / "ir"), files=loaded["ir"])
            if job.get("fingerprint") and not task.answers:
                self.tell("proved", key=task.key, compiled=loaded.get("compiled"))
            if task.answers:
                self.tell("answering", key=task.key, total=task.job["inputs"]["count"])
                reply = worker.command(
                    {"command": "answers"},
                    self._group.timeout_s,
                    lambda event: self._progress(task.key, event),
                )
                self.tell(
                    "answered",
                    key=task.key,
                    folder=str(folder),
                    loaded=loaded,
                    reply=reply,
                    opened_ns=opened_ns,
                )
        except ExecutionError as error:
            if worker is not None:
                worker.kill()
                self._opener.forget(task.key)
            self._failed(task, error, folder)
            return None
        return Member(task.key, worker, folder, loaded, int(job.get("batch", 1)))

    def _open_at(self, task: CellTask, batch: int, folder: Path) -> tuple[Worker, dict[str, Any]]:
        """Open a cell with another batch than its own, for its times alone."""
        job = {**self._job_of(task), "batch": batch}
        job.pop("keep_ir", None)
        job.pop("fingerprint", None)
        try:
            return self._opened(task, job, folder)
        except ExecutionError as error:
            _blame_a_full_disk(error, folder)
            raise

    def _opened(
        self, task: CellTask, job: Mapping[str, Any], folder: Path
    ) -> tuple[Worker, dict[str, Any]]:
        """A worker that has loaded its model, on the device that was asked for."""
        if task.cache is not None:
            # Of another batch, compilations and what a tuner found are others.
            cache = task.cache / f"batch-{job.get('batch', 1)}"
            job = {**job, "cache": str(self._caches.make(cache))}
        worker = self._opener.start(task, job, folder)
        try:
            loaded = self._loaded(worker)
            check_device(str(job.get("device", "cpu")), task.gpu, loaded["ran"])
        except ExecutionError:
            worker.kill()
            self._opener.forget(task.key)
            raise
        return worker, loaded

    def _loaded(self, worker: Worker) -> dict[str, Any]:
        """Its event `loaded`, in the time that compiling may take."""
        seconds = self._group.compile_timeout_s or self._group.timeout_s
        try:
            return worker.event("loaded", seconds, lambda _: None)
        except ExecutionError as error:
            if error.kind == "timeout":
                raise _compiles_too_long(error, seconds) from error
            raise

    def _job_of(self, task: CellTask) -> dict[str, Any]:
        """Its job; of a model that is made in this group, with where it lies and how it is fed."""
        job = dict(task.job)
        if task.conversion is None:
            return job
        if task.conversion in self._conversions.broken:
            raise _because(self._conversions.broken[task.conversion])
        if not Path(job["model"]["path"]).is_absolute():
            made = self._conversions.folder(task.conversion)
            job["model"] = {**job["model"], "path": str(made / job["model"]["path"])}
            job.update(self._conversions.axes[task.conversion])
        return job

    def _progress(self, key: str, event: Mapping[str, Any]) -> None:
        if event.get("event") == "progress":
            self.tell("progress", key=key, done=event["done"], total=event["total"])

    def _failed(self, task: CellTask, error: ExecutionError, folder: Path) -> None:
        """Tell it; of a cell whose conversion failed, under that one's limits and with its log."""
        unmade = task.conversion if task.conversion in self._conversions.broken else None
        log = (self._conversions.folder(unmade) if unmade else folder) / "log.txt"
        _blame_a_full_disk(error, folder)
        self.tell(
            "failed",
            key=task.key,
            kind=error.kind,
            message=str(error),
            detail=error.detail,
            exit_status=error.exit_status,
            signal=error.signal,
            log=str(log) if log.is_file() else None,
            limits=self._conversions.limits[unmade] if unmade else error.limits,
        )


def _blame_a_full_disk(error: ExecutionError, folder: Path) -> None:
    """What fails where nothing can be written has not failed by itself: it is tried again."""
    if error.kind in _SAYS_ENOUGH or shutil.disk_usage(folder).free >= _ROOM_BYTES:
        return
    error.message = f"No space is left in {folder}, and it failed: {error.message}"
    error.remedy = "Make room, then start the same command again."
    error.args = (error.message,)
    error.kind = "disk-full"


def _compiles_too_long(error: ExecutionError, seconds: float) -> ExecutionError:
    """That a worker was stopped before its model was ready, and the limit that bound it."""
    told = ExecutionError(
        "timeout",
        f"Its model was not loaded and compiled after {seconds:g} s; the worker was stopped.",
        "Allow more with --compile-timeout, or limits.compile_seconds in a sweep file.",
        error.detail,
    )
    told.limits = {"compile_seconds": seconds}
    return told


def _because(cause: ExecutionError) -> ExecutionError:
    error = ExecutionError(cause.kind, cause.message, cause.remedy, cause.detail)
    error.exit_status, error.signal = cause.exit_status, cause.signal
    return error


def _fresh(folder: Path) -> Path:
    """A new folder of this name; a cell that is opened again has one with a number."""
    made, number = folder, 1
    while made.exists():
        number += 1
        made = folder.with_name(f"{folder.name}-{number}")
    made.mkdir(parents=True)
    return made


def _end_with_parent(conductor: Conductor) -> None:
    """Wait until the other end of standard input closes, then end everything at once."""
    while os.read(0, 4096):
        pass
    conductor.kill_workers()
    conductor.remove_sockets()
    os._exit(EXIT_INTERRUPTED)


def main() -> None:
    """Carry out the group document named on the command line."""
    group = GroupDocument.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # A socket's path holds 107 bytes, so the sockets are made where paths are short.
    with temporary_folder("harness-") as sockets:
        conductor = Conductor(group, sockets)
        threading.Thread(target=_end_with_parent, args=(conductor,), daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_INTERRUPTED))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        conductor.run()


if __name__ == "__main__":
    main()
