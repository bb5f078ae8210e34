"""What the kernel and the driver say of the machine at one moment, each behind a small source.

Nothing is ever set. What a machine does not show is absent, with the reason: a virtual machine
seldom shows its clocks or its temperature.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.doctor.gpu_readings import GpuMeter
from harness.doctor.topology import read_topology

_CPUS = "sys/devices/system/cpu"
# Sensors of a processor, by the names of their drivers: Intel, AMD, Arm.
_HWMON_PROCESSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})
_ZONE_PROCESSORS = ("x86_pkg_temp", "cpu", "soc", "acpitz")
_TICK_NS = 1_000_000_000 // (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)


@dataclass(frozen=True)
class CoreTimes:
    """What some cores have done, added up. Only differences of two mean anything.

    Attributes:
        busy_ns: time in which they ran something, interrupts included.
        steal_ns: time in which they would have, and the hypervisor ran another machine.
    """

    busy_ns: int
    steal_ns: int

    def since(self, earlier: CoreTimes) -> CoreTimes:
        """What they did since an earlier look; rounding never makes it negative."""
        return CoreTimes(
            max(0, self.busy_ns - earlier.busy_ns), max(0, self.steal_ns - earlier.steal_ns)
        )


class Source(Protocol):
    """Something that is read with every sample."""

    def absent(self) -> dict[str, str]:
        """Which fields of a sample it will never fill, and why."""

    def read(self) -> dict[str, Any]:
        """Its fields of one sample."""

    def close(self) -> None:
        """Let go of what it holds."""


def read_core_times(
    cores: Sequence[int],
    *,
    root: Path = Path("/"),
    clock: Callable[[], int] = time.monotonic_ns,
) -> dict[int, CoreTimes]:
    """What each core has done, from /proc/stat; cores that it does not show are left out.

    Busy is the time that was neither idle, nor waiting for a disk, nor stolen. The kernel counts
    idle time by the clock, but what runs by looking at every tick, which is coarser. All counters
    come in steps of 10 ms. Linux: `Documentation/filesystems/proc.rst`, section 1.7.

    Args:
        cores: the logical cores.
        root: where /proc is looked for.
        clock: nanoseconds since the machine started.
    """
    try:
        text = (root / "proc/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    now = clock()
    wanted = {f"cpu{core}": core for core in cores}
    found = {}
    for line in text.splitlines():
        if not line.startswith("cpu"):
            break
        name, *words = line.split()
        if name not in wanted or len(words) < 8 or not any(int(word) for word in words):
            continue
        idle, waiting, steal = (int(words[index]) * _TICK_NS for index in (3, 4, 7))
        found[wanted[name]] = CoreTimes(now - idle - waiting - steal, steal)
    return found


def snapshot(cores: Sequence[int], *, root: Path = Path("/")) -> CoreTimes | None:
    """What these cores have done together, taken at the start and at the end of each turn.

    Takes some tens of microseconds, with hundreds of cores more. None where the kernel does not
    show every one of them.
    """
    each = read_core_times(cores, root=root)
    if not cores or len(each) < len(set(cores)):
        return None
    return CoreTimes(
        sum(times.busy_ns for times in each.values()),
        sum(times.steal_ns for times in each.values()),
    )


class BusySource:
    """`busy_ns` and `steal_ns` of each leased core since the last look, and of their siblings.

    `sibling_busy_ns` is what the other hardware threads of their physical cores did: they take
    part of the leased cores' speed, and no clock of a leased core shows that.
    """

    def __init__(self, cores: Sequence[int], root: Path = Path("/")) -> None:
        self._root = root
        self._cores = sorted(cores)
        topology = read_topology(root).cores
        beside = {twin for core in cores if core in topology for twin in topology[core].siblings}
        self._siblings = sorted(beside - set(cores))
        self._last = self._look()

    def absent(self) -> dict[str, str]:
        """Everything, where /proc/stat does not show the cores."""
        if all(core in self._last for core in self._cores) and self._cores:
            return {}
        why = "/proc/stat does not show these cores here"
        return {"busy_ns": why, "steal_ns": why}

    def read(self) -> dict[str, Any]:
        """Nanoseconds by core."""
        before, self._last = self._last, self._look()
        each = {
            core: times.since(before[core]) for core, times in self._last.items() if core in before
        }
        fields: dict[str, Any] = {}
        leased = [core for core in self._cores if core in each]
        if leased:
            fields["busy_ns"] = {str(core): each[core].busy_ns for core in leased}
            fields["steal_ns"] = {str(core): each[core].steal_ns for core in leased}
        if beside := [core for core in self._siblings if core in each]:
            fields["sibling_busy_ns"] = {str(core): each[core].busy_ns for core in beside}
        return fields

    def close(self) -> None:
        """Holds nothing."""

    def _look(self) -> dict[int, CoreTimes]:
        return read_core_times([*self._cores, *self._siblings], root=self._root)


class ProcessorSource:
    """`mhz` of each leased core, `throttle_count`, `temperature_c` and `load`."""

    def __init__(self, cores: Sequence[int], root: Path = Path("/")) -> None:
        folders = {core: root / _CPUS / f"cpu{core}" for core in sorted(cores)}
        self._clocks = {
            core: folder / "cpufreq/scaling_cur_freq" for core, folder in folders.items()
        }
        topology = read_topology(root).cores
        # Every core of a processor tells its processor's count.
        packages = {
            topology[core].socket if core in topology else None: folder
            for core, folder in folders.items()
        }
        self._throttles = [
            *(folder / "thermal_throttle/core_throttle_count" for folder in folders.values()),
            *(folder / "thermal_throttle/package_throttle_count" for folder in packages.values()),
        ]
        self._sensors = _sensors(root)

    def absent(self) -> dict[str, str]:
        """What this machine does not show."""
        now = self.read()
        reasons = {
            "mhz": "the kernel shows no clocks of these cores (no cpufreq), as in most virtual "
            "machines",
            "throttle_count": "the kernel counts no thermal throttling here (only Intel's "
            "processors are counted, and not in virtual machines)",
            "temperature_c": "no sensor of the processor is to be seen",
        }
        return {field: why for field, why in reasons.items() if field not in now}

    def read(self) -> dict[str, Any]:
        """Megahertz by core, how often a core or its processor was throttled since the start."""
        fields: dict[str, Any] = {"load": os.getloadavg()[0]}
        clocks = {str(core): _number(path) for core, path in self._clocks.items()}
        if known := {core: khz / 1000 for core, khz in clocks.items() if khz is not None}:
            fields["mhz"] = known
        counts = [count for path in self._throttles if (count := _number(path)) is not None]
        if counts:
            fields["throttle_count"] = sum(counts)
        degrees = [milli / 1000 for path in self._sensors if (milli := _number(path)) is not None]
        if degrees:
            fields["temperature_c"] = max(degrees)
        return fields

    def close(self) -> None:
        """Holds nothing."""


class GpuSource:
    """`gpu`: what the driver says of the leased GPU."""

    def __init__(self, uuid: str, nvml: Any = None) -> None:
        self._meter = GpuMeter(uuid, nvml)

    def absent(self) -> dict[str, str]:
        """Where the driver does not show it."""
        return {"gpu": self._meter.absent} if self._meter.absent else {}

    def read(self) -> dict[str, Any]:
        """A `GpuReading` without what the GPU does not say."""
        reading = self._meter.read()
        if reading is None:
            return {}
        return {
            "gpu": {
                name: value
                for name, value in dataclasses.asdict(reading).items()
                if value is not None
            }
        }

    def close(self) -> None:
        """Let go of the driver."""
        self._meter.close()


def sources_of(
    cores: Sequence[int], gpu: str | None, *, root: Path = Path("/"), nvml: Any = None
) -> list[Source]:
    """All that a sample is made of.

    Args:
        cores: the leased logical cores.
        gpu: the leased GPU's UUID, if one is.
        root: where /proc and /sys are looked for.
        nvml: the NVML binding; None for `pynvml`.
    """
    sources: list[Source] = [BusySource(cores, root), ProcessorSource(cores, root)]
    if gpu:
        sources.append(GpuSource(gpu, nvml))
    return sources


def _sensors(root: Path) -> list[Path]:
    """Files with thousandths of a degree Celsius, of the processor's sensors.

    Linux: `Documentation/hwmon/sysfs-interface.rst` and `…/driver-api/thermal/sysfs-api.rst`.
    """
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if _text(folder / "name") in _HWMON_PROCESSORS and (
            inputs := sorted(folder.glob("temp*_input"))
        ):
            return inputs
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    for kind in _ZONE_PROCESSORS:
        if found := [zone / "temp" for zone in zones if _text(zone / "type").startswith(kind)]:
            return found
    return []


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None
