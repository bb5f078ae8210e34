"""The conductor: carries a group document out at the place where the cells run.

`python -m harness.execution.conductor GROUP.json` opens workers, collects answers and leads
the interleaved rounds. Events are JSON lines on standard output; results are files in the
group's folder, which the orchestrator checks and commits. Standard input is a pipe held by
whoever started it: when that end closes, every worker is ended and so is the conductor.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.containers.engine import Engine, connect
from harness.containers.strays import owner_labels
from harness.doctor.machine import usable_cores
from harness.errors import EXIT_INTERRUPTED, EngineError, ExecutionError, HarnessError, StoreError
from harness.execution.container_worker import ContainerWorker
from harness.execution.converting import Converting
from harness.execution.documents import CellTask, ConversionTask, GroupDocument, TrialTask
from harness.execution.proof import check_device
from harness.execution.timing import Member, run_session
from harness.execution.workers import ProcessWorker, Worker
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
        self._open: dict[str, Worker] = {}
        self._containers: list[ContainerWorker] = []
        self._engine: Engine | None = None
        self._count = 0
        self._events = threading.Lock()
        self._conversions = Converting(group, self._worker, self._forget, self.tell)

    def run(self) -> None:
        """Convert, answer, time; each failure is told and the rest goes on."""
        try:
            for conversion in self._group.conversions:
                self._conversions.make(conversion)
            members: dict[str, Member] = {}
            for cell in self._group.cells:
                member = self._answer(cell)
                if member is not None:
                    members[cell.key] = member
            if self._group.session is not None and members:
                self._time(members)
        finally:
            for worker in list(self._open.values()):
                worker.close()
            for worker in self._containers:
                if worker.left_behind:
                    self.tell("left-behind", container=worker.id, reason=worker.left_behind)

    def kill_workers(self) -> None:
        """End every worker at once; an engine that does not answer is not waited for long."""
        killers = [
            threading.Thread(target=worker.kill, daemon=True) for worker in self._open.values()
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

    def _forget(self, key: str) -> None:
        self._open.pop(key, None)

    def _worker(
        self,
        task: CellTask | ConversionTask | TrialTask,
        job: Mapping[str, Any],
        folder: Path,
        memory_mib: int | None = None,
    ) -> Worker:
        self._count += 1
        threads, gpu = (task.threads, task.gpu) if isinstance(task, CellTask) else (1, None)
        if task.image is not None:
            return self._container(task, task.image, job, folder, threads, gpu, memory_mib)
        worker = ProcessWorker(
            task.python,
            self._group.runner,
            job,
            folder,
            self._sockets / f"{self._count}.s",
            cores=_cores_for(threads),
            environment={"CUDA_VISIBLE_DEVICES": gpu or ""},
            memory_mib=memory_mib,
        )
        self._open[task.key] = worker
        self.tell("worker", key=task.key, pid=worker.pid)
        return worker

    def _container(
        self,
        task: CellTask | ConversionTask | TrialTask,
        image: str,
        job: Mapping[str, Any],
        folder: Path,
        threads: int,
        gpu: str | None,
        memory_mib: int | None,
    ) -> Worker:
        sockets = self._sockets / str(self._count)
        sockets.mkdir()
        owner, limits = self._group.owner, self._group.limits
        try:
            if self._engine is None:
                self._engine = connect()
            worker = ContainerWorker(
                self._engine,
                image=image,
                python=str(task.python),
                runner=self._group.runner,
                job=job,
                work=folder,
                made=self._group.results,
                socket_folder=sockets,
                cores=_cores_for(threads),
                limits=replace(limits, memory_mib=memory_mib) if memory_mib else limits,
                gpu=gpu,
                labels=owner_labels(owner.pid, owner.started) if owner else {},
                name=task.label,
            )
        except EngineError as error:
            raise ExecutionError("engine", error.message, error.remedy) from error
        except ExecutionError:
            raise
        except (HarnessError, OSError) as error:
            full = isinstance(error, StoreError) or getattr(error, "errno", 0) == errno.ENOSPC
            kind = "disk-full" if full else "engine"
            raise ExecutionError(kind, f"Its container cannot be prepared: {error}") from error
        self._open[task.key] = worker
        self._containers.append(worker)
        self.tell("worker", key=task.key, container=worker.id)
        return worker

    def _answer(self, task: CellTask) -> Member | None:
        """Open a cell, get its answers if they are wanted, and leave it open for the session."""
        folder = self._group.results / "cells" / task.key
        folder.mkdir(parents=True)
        job = dict(task.job)
        self.tell("opening", key=task.key, label=task.label)
        worker: Worker | None = None
        try:
            if task.conversion is not None and task.conversion in self._conversions.broken:
                raise _because(self._conversions.broken[task.conversion])
            if task.conversion is not None and not Path(job["model"]["path"]).is_absolute():
                made = self._conversions.folder(task.conversion)
                job["model"] = {**job["model"], "path": str(made / job["model"]["path"])}
                job.update(self._conversions.axes[task.conversion])
            worker = self._worker(task, job, folder)
            loaded = worker.event("loaded", self._group.timeout_s, lambda _: None)
            check_device(str(job.get("device", "cpu")), task.gpu, loaded["ran"])
            if job.get("keep_ir"):
                self.tell("compiled", key=task.key, folder=str(folder / "ir"), files=loaded["ir"])
            if task.answers:
                self.tell("answering", key=task.key, total=task.job["inputs"]["count"])
                reply = worker.command(
                    {"command": "answers"},
                    self._group.timeout_s,
                    lambda event: self._progress(task.key, event),
                )
                self.tell("answered", key=task.key, folder=str(folder), loaded=loaded, reply=reply)
            if self._group.session is None:
                worker.close()
                del self._open[task.key]
        except ExecutionError as error:
            if worker is not None:
                worker.kill()
                self._open.pop(task.key, None)
            self._failed(task, error, folder)
            return None
        return Member(task.key, worker, loaded)

    def _time(self, members: dict[str, Member]) -> None:
        session = self._group.session
        assert session is not None  # noqa: S101 - the caller looked
        folder = self._group.results / "session"
        folder.mkdir()
        dropped = run_session(session, members, folder, self._group.timeout_s, self.tell)
        self.tell("timed", folder=str(folder), dropped=dropped)

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
            limits=self._conversions.limits[unmade] if unmade else None,
        )


def _blame_a_full_disk(error: ExecutionError, folder: Path) -> None:
    """What fails where nothing can be written has not failed by itself: it is tried again."""
    if error.kind in _SAYS_ENOUGH or shutil.disk_usage(folder).free >= _ROOM_BYTES:
        return
    error.message = f"No space is left in {folder}, and it failed: {error.message}"
    error.remedy = "Make room, then start the same command again."
    error.args = (error.message,)
    error.kind = "disk-full"


def _because(cause: ExecutionError) -> ExecutionError:
    error = ExecutionError(cause.kind, cause.message, cause.remedy, cause.detail)
    error.exit_status, error.signal = cause.exit_status, cause.signal
    return error


def _cores_for(threads: int) -> list[int] | None:
    """The last cores, as many as threads; the first stay free for whoever leads the rounds."""
    cores = usable_cores()
    return cores[-threads:] if threads < len(cores) else None


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
