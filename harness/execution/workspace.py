"""A sweep's own working folder in the store, and what killed sweeps left of theirs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from harness.canonical import storage_errors, write_json
from harness.execution.documents import Owner
from harness.execution.freezing import end, family
from harness.paths import cache_dir
from harness.progress import Progress
from harness.trees import remove_tree

_OWNER = "owner.json"


class Workspace:
    """A folder `<store>/.work/<id>` with a note of who owns it and which workers it started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._workers: list[dict[str, float]] = []
        self._write()

    @property
    def owner(self) -> Owner:
        """This process, as containers are labelled with."""
        own = psutil.Process()
        return Owner(pid=own.pid, started=own.create_time())

    def note_worker(self, pid: int) -> None:
        """Remember a worker, so that a later start can end it if this process is killed."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._workers.append({"pid": pid, "started": psutil.Process(pid).create_time()})
            self._write()

    def _write(self) -> None:
        owner = self.owner.model_dump()
        write_json(self.path / _OWNER, {"owner": owner, "workers": self._workers})


@contextlib.contextmanager
def workspace(store: Path) -> Iterator[tuple[Workspace, list[int]]]:
    """A fresh workspace, removed at the end; first, what killed sweeps left is removed.

    Everything that a sweep stages in a store, it stages while it has a workspace there.

    Yields:
        The workspace, and the numbers of stray processes that were ended.
    """
    path = store / ".work" / uuid.uuid4().hex[:12]
    with storage_errors(store), FileLock(store / ".work.lock"):
        ended = remove_strays(store)
        path.mkdir(parents=True)
        space = Workspace(path)
    try:
        yield space, ended
    finally:
        remove_tree(path)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


@contextlib.contextmanager
def leased_devices(gpu: str | None, progress: Progress) -> Iterator[None]:
    """Hold the CPU, and a GPU by its UUID, alone: what is timed must not be disturbed.

    What runs on a GPU is fed by the CPU, so it needs both.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(_leased("cpu", progress))
        if gpu is not None:
            held.enter_context(_leased(gpu, progress))
        yield


@contextlib.contextmanager
def _leased(device: str, progress: Progress) -> Iterator[None]:
    folder = cache_dir() / "leases"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{device}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with progress.task(f"Waiting: another sweep is using the {device} of this machine"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_strays(store: Path) -> list[int]:
    """End workers and remove folders of sweeps that were killed.

    Returns:
        The numbers of the processes that were ended.
    """
    ended: list[int] = []
    alive = False
    folder = store / ".work"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            note = json.loads((path / _OWNER).read_text(encoding="utf-8"))
            if _alive(note["owner"]["pid"], note["owner"]["started"]):
                alive = True
                continue
            workers = [(int(w["pid"]), float(w["started"])) for w in note["workers"]]
        except (OSError, ValueError, KeyError, TypeError):
            workers = []
        for pid, started in workers:
            if _alive(pid, started):
                with contextlib.suppress(psutil.Error, OSError):
                    end(family(pid))
                    ended.append(pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
        remove_tree(path)
    if not alive:
        _remove_staged(store)
    return ended


def _remove_staged(store: Path) -> None:
    """Remove bundles that a killed sweep was still staging; they carry hidden names."""
    for place in ("answers/*", "inputs/*", "artifacts/*", "ir/*", "attempts/*", "sessions"):
        for staged in store.glob(f"{place}/.*.staged"):
            remove_tree(staged)


def _alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return (
            process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1.0
        )
    except psutil.NoSuchProcess:
        return False
