"""Folders that a container may write to, kept within a size."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

INTERVAL_S = 1.0
_BLOCK_BYTES = 512
_ENTRY_BYTES = 4096
"""What a file costs even if it is empty."""


class Guard:
    """Looks every second at what folders hold, in a thread, and says when it is too much.

    What a file may grow to between two looks is bounded by the container's own limit of a file.

    Args:
        folders: what to look at.
        most_bytes: what they may hold together.
        on_excess: called once in the thread, with the number of bytes found.
        pid: the container's first process, as this machine counts; 0: not known here.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        most_bytes: int,
        on_excess: Callable[[int], None],
        pid: int = 0,
    ) -> None:
        self._folders = tuple(folders)
        self._pid = pid
        self._most = most_bytes
        self._on_excess = on_excess
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="output guard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            found = size_bytes(self._folders, self._most)
            found += deleted_bytes(self._pid, self._folders) if self._pid else 0
            if found > self._most:
                self._on_excess(found)
                return


def size_bytes(folders: Sequence[Path], most_bytes: int) -> int:
    """What folders take on the disk; counting stops as soon as it is more than `most_bytes`.

    Links are not followed. A folder that cannot be read hides what it holds, so it counts as too
    much.
    """
    total = 0
    waiting = [str(folder) for folder in folders]
    while waiting and total <= most_bytes:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    total += about.st_blocks * _BLOCK_BYTES + _ENTRY_BYTES
                    if total > most_bytes:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except PermissionError:
            return most_bytes + 1
    return total


def deleted_bytes(pid: int, folders: Sequence[Path]) -> int:
    """What deleted files take on the folders' disks while a process or its children hold them.

    No folder shows such a file, and it fills the disk all the same.
    """
    devices = {folder.stat().st_dev for folder in folders if folder.exists()}
    held: dict[tuple[int, int], int] = {}
    waiting = [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        # It may end at any moment; one of another user cannot be looked into.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for children in process.glob("task/*/children"):
                waiting += [int(child) for child in children.read_text().split()]
            for entry in (process / "fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    about = entry.stat()
                    if about.st_nlink == 0 and about.st_dev in devices:
                        held[about.st_dev, about.st_ino] = about.st_blocks * _BLOCK_BYTES
    return sum(held.values())
