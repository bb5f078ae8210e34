"""Free memory of the machine and of a GPU, and whether one more cell fits beside those loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.doctor.gpu_readings import GpuMeter
from harness.doctor.gpus import gpus

_MIB = 1 << 20
RESERVE_MIB = 512.0
"""Stays free: the page cache, the conductor, and what else the machine does."""
MARGIN = 1.25
"""The next cell may take so much of what the largest of those loaded took."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Amounts of memory in MiB; None where nobody says."""

    host_mib: float | None
    gpu_mib: float | None = None

    def since(self, before: Memory) -> Memory:
        """What is less than there was: what something took meanwhile."""
        return Memory(_less(before.host_mib, self.host_mib), _less(before.gpu_mib, self.gpu_mib))

    def times(self, factor: float) -> Memory:
        """So many times as much."""
        return Memory(_times(self.host_mib, factor), _times(self.gpu_mib, factor))

    def holds(self, wanted: Memory) -> bool:
        """Whether so much fits in here; what nobody knows does."""
        return _fits(wanted.host_mib, self.host_mib) and _fits(wanted.gpu_mib, self.gpu_mib)


class Room:
    """What is free, and what cells took.

    Args:
        gpu: UUID of the leased GPU.
        host_free_mib: reads the machine's free memory.
        gpu_free_mib: reads the GPU's; None for what the driver says.
    """

    def __init__(
        self,
        gpu: str | None = None,
        *,
        host_free_mib: Callable[[], float | None] | None = None,
        gpu_free_mib: Callable[[], float | None] | None = None,
    ) -> None:
        self._host = host_free_mib or free_host_mib
        self._meter: GpuMeter | None = None
        if gpu_free_mib is None and gpu is not None:
            self._meter = GpuMeter(gpu)
            total = next((one.memory_mib for one in gpus() if one.uuid == gpu), None)
            gpu_free_mib = _gpu_reader(self._meter, total)
        self._gpu = gpu_free_mib or (lambda: None)
        self._largest = Memory(None, None)

    def free(self) -> Memory:
        """What is free now."""
        return Memory(self._host(), self._gpu())

    def note(self, taken: Memory) -> None:
        """Remember what loading a cell took."""
        self._largest = Memory(
            _larger(self._largest.host_mib, taken.host_mib),
            _larger(self._largest.gpu_mib, taken.gpu_mib),
        )

    def holds_one_more(self) -> bool:
        """Whether a cell like the largest so far fits beside those that are loaded now."""
        return self.free().holds(self._largest.times(MARGIN))

    def close(self) -> None:
        """Let go of the driver."""
        if self._meter is not None:
            self._meter.close()


def free_host_mib(cgroup: Path = _CGROUP) -> float:
    """What programs may still take: of the machine, or of the control group this one is in."""
    free = psutil.virtual_memory().available / _MIB
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            allowed = int((cgroup / limit).read_text(encoding="ascii"))
            taken = int((cgroup / used).read_text(encoding="ascii"))
            stat = (cgroup / limit).with_name("memory.stat").read_text(encoding="ascii")
        except (OSError, ValueError):
            continue
        # Cached files give way when memory is asked for.
        spare = next((int(n) for name, n in map(str.split, stat.splitlines()) if name == cache), 0)
        free = min(free, (allowed - taken + spare) / _MIB)
    return free


def _gpu_reader(meter: GpuMeter, total_mib: float | None) -> Callable[[], float | None]:
    def free() -> float | None:
        reading = meter.read()
        if reading is None or reading.memory_mib is None or total_mib is None:
            return None
        return total_mib - reading.memory_mib

    return free


def _less(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, before - after)


def _times(amount: float | None, factor: float) -> float | None:
    return None if amount is None else amount * factor


def _larger(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


def _fits(wanted: float | None, free: float | None) -> bool:
    return wanted is None or free is None or wanted + RESERVE_MIB <= free
