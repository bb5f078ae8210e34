"""What compiling costs beside time: the most memory, and whether an earlier compilation was there."""

from __future__ import annotations

import os
from typing import Optional

_KIB_IN_MIB = 1024.0
_RESET_PEAK = "5"
"""What `clear_refs` takes to begin anew with `VmHWM` (proc(5), from Linux 4.0)."""


class Peak:
    """The most memory of this process from now on, as the kernel keeps it.

    Where the mark can't be set back (some containers forbid it), what was used before would be
    counted as compiling, so that nothing is told.
    """

    def __init__(self, process: str = "/proc/self") -> None:
        self._process = process
        self._reset = self._set_back()

    def mib(self) -> Optional[float]:
        """MiB so far; None where the kernel does not say."""
        if not self._reset:
            return None
        try:
            with open(
                os.path.join(self._process, "status"), encoding="ascii", errors="replace"
            ) as f:
                for line in f:
                    if line.startswith("VmHWM:"):
                        return round(int(line.split()[1]) / _KIB_IN_MIB, 1)
        except (OSError, ValueError, IndexError):
            return None
        return None

    def _set_back(self) -> bool:
        try:
            with open(os.path.join(self._process, "clear_refs"), "w", encoding="ascii") as file:
                file.write(_RESET_PEAK)
        except OSError:
            return False
        return True


class Cache:
    """The folder in which a library keeps its compilations, and what was there before.

    Args:
        given: one of the cell's that outlives the process; None: none.
        work: the process's own folder, where it is kept for this once otherwise.
    """

    def __init__(self, given: Optional[str], work: str) -> None:
        self.folder = given or os.path.join(work, "cache")
        os.makedirs(self.folder, exist_ok=True)
        self._warm = _holds_files(self.folder)

    @property
    def state(self) -> str:
        """`warm`: something was kept before this opening; `cold`: it keeps some now; `none`."""
        if self._warm:
            return "warm"
        return "cold" if _holds_files(self.folder) else "none"


def _holds_files(folder: str) -> bool:
    return any(names for _, _, names in os.walk(folder))
