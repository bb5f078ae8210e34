"""A process that may use so much memory and is ended when it uses more."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

import psutil

_LOOK_S = 0.1
_MIB = 1 << 20


class MemoryWatch:
    """Looks at a process and all that it started, until it is stopped.

    Memory that several of them share is counted once for each, so the limit may bind a little
    early. A process that outlives the one that started it is still counted by its session, unless
    it began one of its own.

    Args:
        pid: of the process, which leads a session.
        limit_mib: what they may use together: resident memory.
        end: called once when they use more.
    """

    def __init__(self, pid: int, limit_mib: int, end: Callable[[], None]) -> None:
        self.exceeded_mib: int | None = None
        self._pid, self._limit_mib, self._end = pid, limit_mib, end
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self) -> None:
        process: psutil.Process | None = None
        while not self._stopped.wait(_LOOK_S):
            try:
                process = process or psutil.Process(self._pid)
                used = _resident(process) // _MIB
            except psutil.NoSuchProcess:
                return  # the process itself: of others that is no error
            except (psutil.Error, OSError):
                continue  # such as too many open files; the next look may do
            if used > self._limit_mib:
                self.exceeded_mib = used
                self._end()
                return


def session_pids(pid: int) -> set[int]:
    """The processes of the session or the process group that a process leads or led."""
    found: set[int] = set()
    for other in psutil.pids():
        with contextlib.suppress(OSError):  # it ended meanwhile
            if pid in (os.getsid(other), os.getpgid(other)):
                found.add(other)
    return found


def _resident(process: psutil.Process) -> int:
    """Bytes; a process beside the first that ended meanwhile, or cannot be looked at, has none."""
    total = int(process.memory_info().rss)
    others = {child.pid for child in process.children(recursive=True)}
    for pid in (others | session_pids(process.pid)) - {process.pid}:
        with contextlib.suppress(psutil.Error, OSError):
            total += int(psutil.Process(pid).memory_info().rss)
    return total
