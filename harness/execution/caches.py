"""The folders of a store in which libraries keep what they compiled, one for each cell."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from harness.errors import ExecutionError
from harness.plan.cells import Cell

_LEVELS_ABOVE = 3
"""`caches/<kk>/<key>/batch-<n>`: what may be empty above a folder."""


def compile_cache(store: Path, cell: Cell) -> Path:
    """Where what a library keeps of a cell's compilations outlives its workers.

    No bundle and no result: whoever removes it loses nothing but time. An A/A control takes that of
    its cell: what a tuner chose anew would be another program, and no noise.
    """
    key = replace(cell, repeat=0, role="cell").key
    return (store / "caches" / key[:2] / key).resolve()


class Caches:
    """Those that were made for a group."""

    def __init__(self) -> None:
        self._made: set[Path] = set()

    def make(self, folder: Path) -> Path:
        """Make one that is not there.

        Raises:
            ExecutionError: kind `disk-full`: it cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExecutionError(
                "disk-full",
                f"The folder {folder} for compilations cannot be made: {error.strerror}.",
                "Make room in the store, or name another with --store DIR.",
            ) from error
        self._made.add(folder)
        return folder

    def prune(self) -> None:
        """Remove those in which no library kept anything."""
        for folder in self._made:
            for empty in (folder, *folder.parents[:_LEVELS_ABOVE]):
                # What holds anything, or is gone already, refuses.
                with contextlib.suppress(OSError):
                    empty.rmdir()
