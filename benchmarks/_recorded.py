"""`harness` itself, with a note of when each event of a conductor came.

    python -m benchmarks._recorded EVENTS sweep …

EVENTS becomes a file of JSON lines: {"at_s": seconds on the monotonic clock, "event": {…}}. A
thread reads the conductor's output the moment it is there: the sweep itself reads it when it has
time, and would note a later moment.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, TextIO

import harness.execution.sweep as sweep_module
from harness.cli.main import main as harness_main
from harness.execution.documents import GroupDocument
from harness.execution.executors.local import LocalExecutor


class _Recording(LocalExecutor):
    """Runs groups here, and notes their events."""

    notes: TextIO

    def submit(self, group: GroupDocument) -> str:
        """Start a conductor whose output passes through a thread."""
        name = super().submit(group)
        process = self._jobs[name].process
        assert process.stdout is not None
        out, into = os.pipe()
        source, process.stdout = process.stdout, os.fdopen(out, "rb", 0)
        threading.Thread(target=self._pass_on, args=(source, into), daemon=True).start()
        return name

    def _pass_on(self, source: IO[bytes], into: int) -> None:
        with os.fdopen(into, "wb", 0) as target:
            for line in source:
                at_s = time.monotonic()
                self.notes.write(f'{{"at_s": {at_s}, "event": {line.decode().strip()}}}\n')
                self.notes.flush()
                target.write(line)


if __name__ == "__main__":
    with Path(sys.argv.pop(1)).open("w", encoding="utf-8") as _Recording.notes:
        setattr(sweep_module, "LocalExecutor", _Recording)  # noqa: B010 - what it starts groups by
        harness_main()
