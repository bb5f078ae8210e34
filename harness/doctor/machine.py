"""What this machine is and how busy it is, as far as a program may read it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from harness.doctor.gpus import Gpu
from harness.doctor.topology import read_topology


@cache
def cpu_name() -> str:
    """The processor's model name, as the kernel says it."""
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """The processor's features by the kernel's names, sorted; none where it does not say."""
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return sorted(value.split())
    return []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _first_line(path: str) -> str | None:
    lines = _lines(Path(path))
    return lines[0].strip() if lines else None


def usable_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe_machine(gpu: Gpu | None = None) -> dict[str, Any]:
    """The machine as `environment.json` and `session.json` record it; absent values are None.

    Args:
        gpu: the GPU that the cell was given, if it was given one.
    """
    flags = cpu_flags()
    memory = psutil.virtual_memory()
    return {
        "cpu": {
            "model": cpu_name(),
            "flags": flags,
            "flags_sha256": hashlib.sha256(" ".join(flags).encode()).hexdigest(),
            "logical_cores": os.cpu_count(),
            "usable_cores": usable_cores(),
            "topology": read_topology().record(),
            "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "turbo_disabled": _first_line("/sys/devices/system/cpu/intel_pstate/no_turbo"),
        },
        "memory_mib": memory.total >> 20,
        "memory_available_mib": memory.available >> 20,
        "load_average": list(os.getloadavg()),
        "kernel": platform.release(),
        "system": platform.system(),
        "machine": platform.machine(),
        "clock_source": _first_line(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
        "boot_time": psutil.boot_time(),
        "gpu": dataclasses.asdict(gpu) if gpu is not None else None,
    }
