"""A process that may use so much memory and is ended when it uses more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import psutil

_LOOK_S = 0.1
_MIB = 1 << 20


class MemoryWatch:
    """Looks at a process and all that it started, until it is stopped.

    Memory that several of them share is counted once for each, so the limit may bind a little
    early.

    Args:
        pid: of the process.
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
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._pid)
            while not self._stopped.wait(_LOOK_S):
                used = _resident(process) // _MIB
                if used > self._limit_mib:
                    self.exceeded_mib = used
                    self._end()
                    return


def _resident(process: psutil.Process) -> int:
    """Bytes; a child that ended meanwhile has none."""
    total = int(process.memory_info().rss)
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += int(child.memory_info().rss)
    return total
