"""One job of a runner in an environment, before any cell: pixels made there, weights seeded there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.canonical import storage_errors
from harness.containers.engine import Engine
from harness.containers.limits import Limits
from harness.containers.strays import owner_labels
from harness.environments.environment import Environment
from harness.environments.provide import provide
from harness.errors import ExecutionError
from harness.execution.container_worker import ContainerWorker
from harness.execution.workers import ProcessWorker, Worker
from harness.paths import runner_tree
from harness.progress import Progress
from harness.trees import remove_tree, temporary_folder

_TIMEOUT_S = 6 * 3600.0


@dataclass(frozen=True)
class Bench:
    """An environment that side jobs are done in, and the engine where it is an image's."""

    env: Environment
    engine: Engine | None
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value


@contextlib.contextmanager
def side_job(
    bench: Bench,
    job: Mapping[str, Any],
    awaited: str,
    folder: Path,
    progress: Progress,
    *,
    title: str,
    total: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Do a job and give its last event, while what it made lies in `folder`.

    The environment is built if it is not there. The worker is gone when the event is given; the
    folder is removed in the end.

    Args:
        bench: where it is done.
        job: without `work`; a relative `target` is one in `folder`.
        awaited: the event that says that it is done.
        folder: made for it.
        progress: where it reports to.
        title: what is being done.
        total: how many units of progress there are.

    Raises:
        ExecutionError: it failed; the message is the runner's.
        ProvisionError, EngineError, StoreError: the environment cannot be made.
    """
    made = provide(bench.env, progress, bench.engine)
    with contextlib.ExitStack() as held:
        with storage_errors(folder):
            folder.mkdir(parents=True)
        held.callback(remove_tree, folder)
        task = held.enter_context(progress.task(title, total=total))
        sockets = held.enter_context(temporary_folder("harness-"))
        document = {**job, "target": str(folder / job["target"])}
        done = 0

        def heard(event: Mapping[str, Any]) -> None:
            nonlocal done
            if event.get("event") == "progress" and total is not None:
                task.advance(int(event["done"]) - done)
                done = int(event["done"])

        worker: Worker
        if made.image is None:
            worker = ProcessWorker(
                Path(made.python),
                runner_tree()[0],
                document,
                folder,
                sockets / "s",
                environment={"CUDA_VISIBLE_DEVICES": ""},
            )
        else:
            assert bench.engine is not None  # noqa: S101 - an image was provided by it
            worker = ContainerWorker(
                bench.engine,
                image=made.image,
                python=str(made.python),
                runner=runner_tree()[0],
                job=document,
                work=folder,
                socket_folder=sockets / "c",
                limits=bench.limits,
                labels=owner_labels(),
                name=title,
            )
        try:
            event = worker.event(awaited, _TIMEOUT_S, heard)
        finally:
            worker.kill()
        yield event


def take(made: Path, target: Path) -> None:
    """Move a file that a job made to its place.

    Raises:
        ExecutionError: kind `invalid-output`: it left no plain file.
    """
    if made.is_symlink() or not made.is_file():
        raise ExecutionError("invalid-output", f"It left no file {made.name}.")
    shutil.move(made, target)
