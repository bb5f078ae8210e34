"""Why a worker ended: from its exit status, the engine's word, and what it left behind."""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ExecutionError

_ERROR_BYTES = 1 << 20
_MEMORY_REMEDY = "Allow more memory in the sweep's limits, or use a smaller batch."


@dataclass(frozen=True)
class ErrorNote:
    """What the runner wrote into `error.json`."""

    kind: str
    message: str
    detail: str = ""


def read_error(path: Path) -> ErrorNote | None:
    """The runner's `error.json`; None if there is none that could be its.

    A model's own code may write into this folder, so only a plain file of small size is read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as stream:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            error = json.loads(stream.read(_ERROR_BYTES))
        return ErrorNote(str(error["kind"]), str(error["message"]), str(error.get("detail", "")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def explain_exit(status: int, note: ErrorNote | None, log_tail: str) -> ExecutionError:
    """Why a process ended.

    Args:
        status: its exit status; -n for an end by signal n.
        note: what the runner said itself; it knows best.
        log_tail: the end of its log.
    """
    if note is not None:
        found = ExecutionError(note.kind, note.message, detail=note.detail)
    elif status < 0:
        name = signal_name(-status)
        hint = " Often that is the system running out of memory." if name == "SIGKILL" else ""
        found = ExecutionError("signal", f"It was ended by {name}.{hint}", detail=log_tail)
    elif status == 0:
        found = ExecutionError("no-result", "It ended well but left no result.", "", log_tail)
    else:
        last = next((x for x in reversed(log_tail.splitlines()) if x.strip()), "")
        said = f" Its last words: {last.strip()}" if last else ""
        found = ExecutionError("exit", f"It ended with status {status}.{said}", "", log_tail)
    found.exit_status = status if status >= 0 else None
    found.signal = -status if status < 0 else None
    return found


def explain_container_exit(
    status: int, *, oom_killed: bool, memory_mib: int, note: ErrorNote | None, log_tail: str
) -> ExecutionError:
    """Why a container ended.

    Args:
        status: its exit status; 128 + n where its process was ended by signal n.
        oom_killed: whether the kernel ended any process in it for want of memory. That may have
            been a child, after which the runner itself ends in whatever way.
        memory_mib: its memory limit.
        note: what the runner said itself.
        log_tail: the end of its log.
    """
    if oom_killed and (note is None or note.kind != "out-of-memory"):
        if status == 128 + signal.SIGKILL:
            what = "It was ended by the kernel"
        elif note is not None:
            what = f"The kernel ended a process of it, and it failed with {note.message!r}"
        else:
            what = f"The kernel ended a process of it, and it ended with status {status}"
        found = ExecutionError(
            "out-of-memory",
            f"{what}: it needed more than its {memory_mib} MiB of memory.",
            _MEMORY_REMEDY,
            note.detail if note is not None else log_tail,
        )
        killed = status == 128 + signal.SIGKILL
        found.exit_status = None if killed else status
        found.signal = int(signal.SIGKILL) if killed else None
        return found
    by_signal = 128 < status < 128 + signal.NSIG
    return explain_exit(128 - status if by_signal else status, note, log_tail)


def signal_name(number: int) -> str:
    """Such as `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
