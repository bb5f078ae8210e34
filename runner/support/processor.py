"""Holding this process to cores, and counting its threads by name: what libraries do not offer."""

from __future__ import annotations

import os
from typing import Iterator

from runner.errors import RunnerError


def hold_to_cores(backend: str, threads: int) -> int:
    """Let this process use the last of its cores only, as many as threads; how many those are.

    Raises:
        RunnerError: kind `unsupported`, where the system has no such thing.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise RunnerError(
            "unsupported",
            f"{backend} can be held to {threads} threads only by processor affinity, which this "
            "system does not have; run it on Linux",
        )
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return len(cores)


def threads_named(beginning: str) -> int:
    """How many threads of this process have names with a beginning (of at most 15 characters)."""
    return sum(name.startswith(beginning) for name in _names())


def _names() -> Iterator[str]:
    for task in os.listdir("/proc/self/task"):
        yield _name(task)


def _name(task: str) -> str:
    try:
        with open(f"/proc/self/task/{task}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        # It has ended meanwhile.
        return ""
