"""What the orchestrator reads on standard output: one JSON object a line, and nothing else."""

from __future__ import annotations

import json
import os
import select
import threading
from typing import Any, Dict

from runner.lifeline import PARENT_GONE


class Events:
    """Writes events to the real standard output.

    File descriptor 1 is pointed at standard error when an `Events` is made: native libraries print
    there, and so does anything that a model's own code may say. Make it before any other import.
    """

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def give_back(self) -> None:
        """Point file descriptor 1 at the real standard output again, for who takes over from here."""
        os.dup2(self._fd, 1)

    def emit(self, event: str, droppable: bool = False, **fields: Any) -> None:
        """Write one event.

        A droppable one (progress) is left out while the pipe is full: a parent that waits for a
        reply without reading standard output must not stop the work.
        """
        line = encode(dict({"event": event}, **fields))
        with self._lock:
            if droppable and not select.select([], [self._fd], [], 0)[1]:
                return
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except BrokenPipeError:
                # Nobody reads any more: the parent is gone, and so is the reason to run.
                os._exit(PARENT_GONE)


def encode(document: Dict[str, Any]) -> bytes:
    """A document as one line of UTF-8; ASCII only, so no log can break it."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"
