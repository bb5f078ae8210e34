"""The threads of this process: counted and named by the kernel, and held to cores.

What libraries do not offer themselves.
"""

from __future__ import annotations

import os
from typing import List, Optional

from runner.errors import RunnerError

_TASKS = "/proc/self/task"


def count() -> Optional[int]:
    """All threads of this process, Python's and native ones; None where the system does not say."""
    tasks = _tasks()
    return None if tasks is None else len(tasks)


def started_since(before: Optional[int]) -> Optional[int]:
    """How many more there are than `before`; None where one of the two is not known."""
    now = count()
    return None if before is None or now is None else now - before


def named(beginning: str) -> Optional[int]:
    """How many threads have names with a beginning of at most 15 characters; None as above."""
    tasks = _tasks()
    return None if tasks is None else sum(_name(task).startswith(beginning) for task in tasks)


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


def _tasks() -> Optional[List[str]]:
    try:
        return os.listdir(_TASKS)
    except OSError:
        return None


def _name(task: str) -> str:
    try:
        with open(os.path.join(_TASKS, task, "comm"), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        # It has ended meanwhile.
        return ""
