"""Everything that the doctor's checks judge, as one value: gathered here, judged elsewhere."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from harness.containers.engine import Engine, EngineInfo, connect
from harness.containers.gpu import gpu_route
from harness.doctor import gpus
from harness.doctor.building import Building, look_at_building
from harness.doctor.cgroups import GroupLimits, group_limits
from harness.doctor.choice import choose_executor, is_local
from harness.doctor.gpus import GpuSurvey, GpuUse
from harness.doctor.installing import index_reason, installed_venvs, uv_version
from harness.doctor.machine import usable_cores
from harness.errors import EngineError
from harness.paths import cache_dir

_CLOCK_READS = 20_000
_SYS_CPU = "sys/devices/system/cpu"


@dataclass(frozen=True)
class Disk:
    """Room where the harness writes."""

    role: str
    """`cache`, `results` or `images`."""
    path: str
    free_bytes: int | None
    """None where the path is not to be seen from here."""
    writable: bool = True


@dataclass(frozen=True)
class Processor:
    """Cores and what makes their speed vary; None where the system does not say."""

    logical: int = 1
    usable: int = 1
    governor: str | None = None
    turbo: bool | None = None
    smt: bool | None = None
    virtual: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of this machine at one moment."""

    engine: EngineInfo | None = None
    engine_reason: str = ""
    engine_remedy: str = ""
    building: Building = field(default_factory=Building)
    gpus: GpuSurvey = field(default_factory=GpuSurvey)
    gpu_uses: tuple[GpuUse, ...] = ()
    gpu_route: Literal["cdi", "nvidia"] | None = None
    gpu_route_reason: str = ""
    processor: Processor = field(default_factory=Processor)
    limits: GroupLimits = field(default_factory=GroupLimits)
    memory_mib: int = 0
    memory_available_mib: int = 0
    disks: tuple[Disk, ...] = ()
    clock_source: str | None = None
    clock_read_ns: float = 0.0
    load: float = 0.0
    """Runnable processes, averaged over a minute."""
    python: str = ""
    uv: str = ""
    """uv's version; empty where it does not start."""
    uv_reason: str = ""
    index_reason: str = ""
    """Why no package index answers; empty where one does."""
    venvs: int = 0
    """Virtual environments that are installed already."""
    executor: Literal["docker", "venv"] = "venv"
    executor_reason: str = ""
    default_executor: str = ""
    """What HARNESS_EXECUTOR says; empty where it is not set."""


def gather(store: Path) -> Facts:
    """Look at this machine; takes a second or two and changes nothing.

    Args:
        store: the results folder that a sweep would write, there or not yet.
    """
    reason, remedy, engine = "", "", None
    try:
        engine = connect()
    except EngineError as error:
        reason, remedy = error.message, error.remedy
    try:
        return _gather(store, engine, reason, remedy)
    finally:
        if engine is not None:
            engine.close()


def _gather(store: Path, engine: Engine | None, reason: str, remedy: str) -> Facts:
    def connected() -> Engine:
        if engine is None:
            raise EngineError(reason, remedy)
        return engine

    choice = choose_executor("auto", connected)
    survey = gpus.survey()
    route: tuple[Literal["cdi", "nvidia"] | None, str] = (None, "")
    if engine is not None:
        route = gpu_route(engine.info)
    memory = psutil.virtual_memory()
    uv, uv_reason = uv_version()
    return Facts(
        engine=engine.info if engine is not None else None,
        engine_reason=reason,
        engine_remedy=remedy,
        building=look_at_building(choice.engine) if choice.engine is not None else Building(),
        gpus=survey,
        gpu_uses=gpus.uses() if survey.gpus else (),
        gpu_route=route[0],
        gpu_route_reason=route[1],
        processor=processor(),
        limits=group_limits(),
        memory_mib=memory.total >> 20,
        memory_available_mib=memory.available >> 20,
        disks=_disks(store, engine.info if engine is not None else None),
        clock_source=_word(
            Path("/"), "sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
        clock_read_ns=_clock_read_ns(),
        load=os.getloadavg()[0],
        python=f"{platform.python_version()} ({sys.executable})",
        uv=uv,
        uv_reason=uv_reason,
        index_reason=index_reason() if uv else "",
        venvs=installed_venvs(),
        executor=choice.executor,
        executor_reason=choice.reason,
        default_executor=os.environ.get("HARNESS_EXECUTOR", ""),
    )


def processor(root: Path = Path("/")) -> Processor:
    """Cores and what makes their speed vary, as the kernel shows it below `root`."""
    no_turbo = _word(root, f"{_SYS_CPU}/intel_pstate/no_turbo")
    boost = _word(root, f"{_SYS_CPU}/cpufreq/boost")
    turbo = {"0": True, "1": False}.get(no_turbo or "", {"1": True, "0": False}.get(boost or ""))
    active = _word(root, f"{_SYS_CPU}/smt/active")
    flags = _word(root, "proc/cpuinfo") or ""
    return Processor(
        logical=os.cpu_count() or 1,
        usable=len(usable_cores()),
        governor=_word(root, f"{_SYS_CPU}/cpu0/cpufreq/scaling_governor"),
        turbo=turbo,
        smt={"1": True, "0": False}.get(active or ""),
        virtual=" hypervisor" in flags,
    )


def disk(role: str, path: Path) -> Disk:
    """Room and rights at a path; where it is not there yet, at the nearest folder above it."""
    there = path.expanduser().absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return Disk(role, str(path), shutil.disk_usage(there).free, usable)


def _disks(store: Path, engine: EngineInfo | None) -> tuple[Disk, ...]:
    disks = [disk("cache", cache_dir()), disk("results", store)]
    if engine is not None and engine.root_dir and is_local(engine):
        # Only the engine writes there; for whoever may not look, or where the engine has a
        # machine of its own, the room is not to be known.
        try:
            free = shutil.disk_usage(engine.root_dir).free
        except OSError:
            disks.append(Disk("images", engine.root_dir, None))
        else:
            disks.append(Disk("images", engine.root_dir, free))
    return tuple(disks)


def _clock_read_ns() -> float:
    started = time.perf_counter_ns()
    for _ in range(_CLOCK_READS):
        time.perf_counter_ns()
    return (time.perf_counter_ns() - started) / _CLOCK_READS


def _word(root: Path, path: str) -> str | None:
    try:
        return (root / path).read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
