"""Folders that a container may write to, kept within a size."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.trees import walk

INTERVAL_S = 1.0
_BLOCK_BYTES = 512
_ENTRY_BYTES = 4096
"""What a file costs even if it is empty."""


class Guard:
    """Looks every second at what folders hold, in a thread, and says when it is too much.

    What a file may grow to between two looks is bounded by the container's own limit of a file.
    What cannot be looked at counts as too much.

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
            try:
                found = size_bytes(self._folders, self._most)
                found += deleted_bytes(self._pid, self._folders) if self._pid else 0
            except OSError:
                # What cannot be looked at may be anything: watching never just ends.
                found = self._most + 1
            if found > self._most:
                self._on_excess(found)
                return


def size_bytes(folders: Sequence[Path], most_bytes: int) -> int:
    """What folders take on the disk; counting stops as soon as it is more than `most_bytes`.

    Links are not followed. A folder that cannot be read, or that is nested deeper than anybody
    needs (`MOST_DEPTH`), hides what it holds, so it counts as too much.
    """
    total = 0
    for folder in folders:
        try:
            for _, _, about in walk(folder):
                total += about.st_blocks * _BLOCK_BYTES + _ENTRY_BYTES
                if total > most_bytes:
                    return total
        except FileNotFoundError:
            continue
        except OSError:
            return most_bytes + 1
    return total


def deleted_bytes(pid: int, folders: Sequence[Path]) -> int:
    """What deleted files take on the folders' disks while a process or its children hold them.

    No folder shows such a file, and it fills the disk all the same. Held is what a process has
    open or mapped. Where a mapped file itself cannot be looked at, which takes privileges, it
    counts as far as it is mapped.

    Not found, so bounded only by what one file may grow to, times their number: files of a
    process that this user may not look into (another user's, or one that made itself undumpable,
    where the caller is not root), files that only a thread with its own table of descriptors has
    open, and files that are open nowhere but on their way through a socket.
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
                    _count(entry.stat(), devices, held)
            _count_mapped(process, devices, held)
    return sum(held.values())


def _count(about: os.stat_result, devices: set[int], held: dict[tuple[int, int], int]) -> None:
    if about.st_nlink == 0 and about.st_dev in devices:
        held[about.st_dev, about.st_ino] = about.st_blocks * _BLOCK_BYTES


def _count_mapped(process: Path, devices: set[int], held: dict[tuple[int, int], int]) -> None:
    """Count the deleted files that a process has mapped, whether or not it has them open."""
    extents: dict[tuple[int, int], int] = {}
    for line in (process / "maps").read_bytes().splitlines():
        if not line.endswith(b" (deleted)"):
            continue
        place, _, offset, device, inode = line.split(maxsplit=5)[:5]
        major, minor = (int(part, 16) for part in device.split(b":"))
        number = (os.makedev(major, minor), int(inode))
        if number in held:
            continue
        try:
            _count((process / "map_files" / _unpadded(place)).stat(), devices, held)
        except (FileNotFoundError, PermissionError):
            if number[0] in devices:
                first, last = (int(part, 16) for part in place.split(b"-"))
                end = int(offset, 16) + last - first
                extents[number] = max(end, extents.get(number, 0))
    for number, end in extents.items():
        held.setdefault(number, end)


def _unpadded(place: bytes) -> str:
    """A range of addresses as `map_files` names it: `maps` pads short ones with zeros."""
    return "-".join(f"{int(part, 16):x}" for part in place.split(b"-"))
