"""Stopping all that a worker's process started, and letting it go on (`SIGSTOP`, `SIGCONT`)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from harness.execution.memory import session_pids

STOP_WAIT_S = 1.0
"""How long processes that were stopped may take to stand still."""
_LOOK_S = 0.0005
_STILL = frozenset("TtZX")
"""States of a thread that does not run (proc(5)): stopped, traced, ended."""


def family(leader: int) -> tuple[psutil.Process, ...]:
    """The processes of the session and the group that a process leads or led, and its descendants.

    Descendants are also those that began a session of their own, as long as the processes
    between live, and where the kernel lists children (`CONFIG_PROC_CHILDREN`; most do).
    """
    found = []
    for pid in sorted(session_pids(leader) | _descendants(leader)):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            found.append(psutil.Process(pid))
    return tuple(found)


def stop_family(leader: int) -> tuple[psutil.Process, ...]:
    """Stop a process and all that it started, and wait until none of their threads runs.

    A process is stopped with its whole group in one step, in which none of the group can start
    another; what left the group before is found by another look. A thread that waits in the
    kernel for a device stops when it comes back; nobody waits for it longer than `STOP_WAIT_S`.

    Returns:
        What was stopped, for `go_on` and `end`; those that ended meanwhile are left out.
    """
    stopped: dict[int, psutil.Process] = {}
    deadline = time.monotonic() + STOP_WAIT_S
    while new := [one for one in family(leader) if stopped.get(one.pid) != one]:
        for process in new:
            stopped[process.pid] = process
            _signal_with_group(process, signal.SIGSTOP)
        while any(_runs(process.pid) for process in new) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if time.monotonic() >= deadline:
            break
    return tuple(one for one in stopped.values() if one.is_running())


def go_on(stopped: Iterable[psutil.Process]) -> None:
    """Let processes that were stopped, and their groups, go on.

    No other that has got one of their numbers does.
    """
    for process in stopped:
        _signal_with_group(process, signal.SIGCONT)


def end(processes: Iterable[psutil.Process]) -> None:
    """End processes at once, stopped or not; no other that has got one of their numbers."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _signal_with_group(process: psutil.Process, number: signal.Signals) -> None:
    """Signal a process and, where it is of another session than the harness, all of its group."""
    with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
        process.send_signal(number)
        if os.getsid(process.pid) != os.getsid(0):
            os.killpg(os.getpgid(process.pid), number)


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        # It may end at any moment.
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
                children = {int(child) for child in (task / "children").read_text().split()}
                waiting += children - found
                found |= children
    return found


def _runs(pid: int) -> bool:
    """Whether any thread of a process can still run."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return any(_state(task) not in _STILL for task in tasks.iterdir())
    except OSError:  # it ended meanwhile, or this system shows no threads
        return False


def _state(task: Path) -> str:
    """The one letter of a thread's state; its name, which stands before, may hold anything."""
    try:
        return (task / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"
