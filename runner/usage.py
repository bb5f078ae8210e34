"""What this process uses: processor time, time that its threads waited for a core, memory."""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, Optional

_THREADS = "/proc/self/task"


@dataclass(frozen=True)
class Reading:
    """What had been used up to a moment.

    `waited_ns` is by thread; None where the kernel does not say.
    """

    cpu_ns: int
    waited_ns: Optional[Dict[str, int]]


def read() -> Reading:
    """What this process has used so far: processor time of all threads, and their waiting."""
    return Reading(time.process_time_ns(), waiting())


def used(before: Reading, idle_since_cpu_ns: int) -> Dict[str, Any]:
    """The fields of a reply that say what a command used, and what was used before it came.

    Args:
        before: read when the command came.
        idle_since_cpu_ns: the processor time at the last reply.
    """
    now = read()
    return {
        "cpu_ns": now.cpu_ns - before.cpu_ns,
        "cpu_ns_since_last": before.cpu_ns - idle_since_cpu_ns,
        "wait_ns": waited_between(before.waited_ns, now.waited_ns),
        "rss_mib": round(rss_mib(), 3),
        "peak_rss_mib": round(peak_rss_mib(), 3),
    }


def waiting(folder: str = _THREADS) -> Optional[Dict[str, int]]:
    """Nanoseconds that each thread was ready to run and waited for a core, by its number.

    The second field of `schedstat` ("time spent waiting on a runqueue", the kernel's
    Documentation/scheduler/sched-stats.rst). None where the kernel does not count: the file is
    absent, or all zeros, though who reads it has certainly run.
    """
    found: Dict[str, int] = {}
    has_run = False
    try:
        threads = os.listdir(folder)
    except OSError:
        return None
    for thread in threads:
        try:
            with open(os.path.join(folder, thread, "schedstat"), encoding="ascii") as file:
                ran_ns, waited_ns = file.read().split()[:2]
        except (OSError, ValueError):
            # Absent for all of them, or of a thread that has just ended.
            continue
        has_run = has_run or int(ran_ns) > 0
        found[thread] = int(waited_ns)
    return found if has_run else None


def waited_between(
    before: Optional[Dict[str, int]], after: Optional[Dict[str, int]]
) -> Optional[int]:
    """What all threads together waited between two times that they were read.

    A thread that ended in between is not counted, one that began is counted whole.
    """
    if before is None or after is None:
        return None
    total = 0
    for thread, waited in after.items():
        earlier = before.get(thread, 0)
        # Less than before is another thread, which was given the number of one that ended.
        total += waited - earlier if waited >= earlier else waited
    return total


def rss_mib() -> float:
    """Resident memory of this process now; where the kernel does not say, its largest so far."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return _largest_mib()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def peak_rss_mib(path: str = "/proc/self/status") -> float:
    """The largest resident memory that this process had so far (VmHWM)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return _largest_mib()


def _largest_mib() -> float:
    """By `getrusage`, which on Linux counts in the program that this process was before `exec`."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1024**2 if sys.platform == "darwin" else 1024)
