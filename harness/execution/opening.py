"""Opening workers for a group: as processes or containers, on cores and GPUs of their own."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.environments.variables import given_variables
from harness.errors import EngineError, ExecutionError, HarnessError, StoreError
from harness.execution.cores import CoreChoice, cores_for
from harness.execution.documents import CellTask, ConversionTask, GroupDocument, TrialTask
from harness.execution.workers import ProcessWorker, Worker

if TYPE_CHECKING:
    from harness.containers.engine import Engine
    from harness.execution.container_worker import ContainerWorker

Task = CellTask | ConversionTask | TrialTask


class Opener:
    """Starts workers, and knows those that are open.

    Args:
        group: the group document.
        sockets: an empty folder with a short path.
        tell: writes an event.

    Attributes:
        open: the workers that were started and not forgotten, by the keys of their tasks.
        containers: all that were containers.
    """

    def __init__(self, group: GroupDocument, sockets: Path, tell: Callable[..., None]) -> None:
        self._group, self._sockets, self._tell = group, sockets, tell
        self._engine: Engine | None = None
        self._count = 0
        self.open: dict[str, Worker] = {}
        self.containers: list[ContainerWorker] = []

    def start(
        self,
        task: Task,
        job: Mapping[str, Any],
        folder: Path,
        memory_mib: int | None = None,
    ) -> Worker:
        """Start a worker; it loads its model by itself.

        Raises:
            ExecutionError: it cannot be started.
        """
        self._count += 1
        threads, gpu = (task.threads, task.gpu) if isinstance(task, CellTask) else (1, None)
        variables = given_variables(job)
        cores = self.cores_of(threads).cells
        if task.image is not None:
            return self._container(task, task.image, job, folder, cores, gpu, memory_mib, variables)
        worker = ProcessWorker(
            task.python,
            self._group.runner,
            job,
            folder,
            self._sockets / f"{self._count}.s",
            cores=cores,
            environment={**variables, "CUDA_VISIBLE_DEVICES": gpu or ""},
            memory_mib=memory_mib,
        )
        self.open[task.key] = worker
        self._tell("worker", key=task.key, pid=worker.pid)
        return worker

    @staticmethod
    def cores_of(threads: int) -> CoreChoice:
        """The cores of a task with so many threads."""
        return cores_for(threads)

    def forget(self, key: str) -> None:
        """A worker is gone."""
        self.open.pop(key, None)

    def close(self, key: str) -> None:
        """End a worker, if it is open."""
        worker = self.open.pop(key, None)
        if worker is not None:
            worker.close()

    def _container(
        self,
        task: Task,
        image: str,
        job: Mapping[str, Any],
        folder: Path,
        cores: tuple[int, ...] | None,
        gpu: str | None,
        memory_mib: int | None,
        variables: Mapping[str, str],
    ) -> Worker:
        # The engine's library is a third of what a conductor would import for processes.
        from harness.containers.engine import connect  # noqa: PLC0415
        from harness.containers.strays import owner_labels  # noqa: PLC0415
        from harness.execution.container_worker import ContainerWorker  # noqa: PLC0415

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
                cores=cores,
                limits=replace(limits, memory_mib=memory_mib) if memory_mib else limits,
                gpu=gpu,
                variables=variables,
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
        self.open[task.key] = worker
        self.containers.append(worker)
        self._tell("worker", key=task.key, container=worker.id)
        return worker
