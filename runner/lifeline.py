"""Nothing survives a parent that was killed."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys
import threading

PARENT_GONE = 130
"""The exit status when the parent went away, and when interrupted."""

_PR_SET_PDEATHSIG = 1


def hold_on_to_stdin() -> None:
    """Exit with `PARENT_GONE` when the other end of standard input is closed.

    The parent keeps the writing end of a pipe and never writes; its death, however sudden, closes
    it. Only a pipe or a socket is watched: at a terminal or with /dev/null nobody holds the other
    end. The descriptor is moved away from 0, so that no library can read from it.
    """
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return
    watched = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_watch, args=(watched,), name="lifeline", daemon=True).start()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; Linux only.

    It also reaches a process that is busy in native code which holds the interpreter's lock,
    where the watching thread can't run.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        problem = os.strerror(ctypes.get_errno())
        print(f"runner: no parent death signal ({problem}); standard input is watched", flush=True)


def _watch(watched: int) -> None:
    try:
        while os.read(watched, 4096):
            pass
    except OSError:
        pass
    os._exit(PARENT_GONE)
