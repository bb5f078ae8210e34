"""Checks of cores, memory, disks, clock, load, Python and uv."""

from __future__ import annotations

from collections.abc import Iterator

from harness.containers.limits import Limits
from harness.doctor.checks import Check, failed, info, ok, warning
from harness.doctor.facts import Disk, Facts

# An environment with a large framework takes about two gigabytes, its wheels another half.
_ROOMY_BYTES = 10 << 30
_FULL_BYTES = 1 << 30
_SLOW_CLOCK_NS = 500.0
_BUSY = 0.5


def machine_checks(facts: Facts) -> Iterator[Check]:
    """Everything about the machine itself."""
    yield _cores(facts)
    yield from _speed(facts)
    yield _load(facts)
    yield _clock(facts)
    yield _memory(facts)
    yield from (_disk(disk) for disk in facts.disks)


def venv_checks(facts: Facts) -> Iterator[Check]:
    """What virtual environments need: a Python, uv, and somewhere to get packages from."""
    yield ok("Python", facts.python)
    if not facts.uv:
        yield failed(
            "uv",
            facts.uv_reason or "it does not start",
            "`python -m pip install --force-reinstall uv`",
        )
        return
    yield ok("uv", f"{facts.uv}; makes the virtual environments")
    if facts.index_reason:
        judge = warning if facts.venvs else failed
        have = f"only the {facts.venvs} environments that are installed can run"
        yield judge(
            "package index",
            f"none answers ({facts.index_reason}): "
            f"{have if facts.venvs else 'no environment can be installed'}",
            _CERTIFICATES if "certificate" in facts.index_reason else _INDEX,
        )
    else:
        yield ok("package index", "answers")


def _cores(facts: Facts) -> Check:
    processor, quota = facts.processor, facts.limits.cpus
    words = f"{processor.usable} of {processor.logical} usable"
    if quota is not None and quota < processor.usable:
        return warning(
            "cores",
            f"{words}, but this control group may use the time of {quota:g}: cells are paused in "
            "the middle of a measurement when it is spent",
            "Start the harness with whole cores of its own (a container: `--cpuset-cpus 0-1` "
            "in place of `--cpus`).",
        )
    if processor.usable == 1:
        return warning(
            "cores",
            f"{words}: the harness itself runs on the core that is being timed",
            "Use two cores or more where times matter; answers are not affected.",
        )
    return ok("cores", words)


def _speed(facts: Facts) -> Iterator[Check]:
    processor = facts.processor
    unseen = "not shown by this virtual machine" if processor.virtual else "not shown by the kernel"
    if processor.governor is None:
        yield info("governor", unseen)
    elif processor.governor == "performance":
        yield ok("governor", "performance")
    else:
        yield warning(
            "governor",
            f"{processor.governor}: clocks fall between rounds and take time to rise",
            "`sudo cpupower frequency-set -g performance`",
        )
    if processor.turbo is None:
        yield info("turbo", unseen)
    elif processor.turbo:
        yield info(
            "turbo",
            "on: clocks depend on temperature; compared cells take turns, so ratios hold better "
            "than single times",
            "For steady times: `echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo` "
            "or `echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost`",
        )
    else:
        yield ok("turbo", "off")
    if processor.smt:
        yield info(
            "SMT",
            "on: two logical cores share one; other work beside a timed cell slows it",
            "For steady times: `echo off | sudo tee /sys/devices/system/cpu/smt/control`",
        )
    else:
        yield ok("SMT", "off") if processor.smt is False else info("SMT", unseen)


def _load(facts: Facts) -> Check:
    words = f"{facts.load:.1f} running on {facts.processor.usable} cores over the last minute"
    if facts.load > _BUSY * facts.processor.usable:
        return warning(
            "load",
            f"{words}: times measured now will scatter",
            "See what runs with `ps -eo pid,pcpu,args --sort=-pcpu | head`, and wait for it.",
        )
    return ok("load", words)


def _clock(facts: Facts) -> Check:
    source = facts.clock_source or "clock"
    words = f"{source}, {facts.clock_read_ns:.0f} ns a reading"
    if facts.clock_read_ns > _SLOW_CLOCK_NS:
        return warning(
            "clock",
            f"{words}: slow for timing short calls",
            "See `cat /sys/devices/system/clocksource/clocksource0/available_clocksource`, and "
            "choose `tsc` where it is listed.",
        )
    return ok("clock", words)


def _memory(facts: Facts) -> Check:
    limit, cell = facts.limits.memory_mib, Limits().memory_mib
    total, available = facts.memory_mib, facts.memory_available_mib
    words = f"{_gib(available)} of {_gib(total)} GiB available"
    if limit is not None and limit < total:
        words += f", this control group may use {_gib(limit)} GiB"
        available = min(available, limit)
    if available < cell:
        return warning(
            "memory",
            f"{words}; a cell may take up to {_gib(cell)} GiB, and two are loaded to be compared",
            "Close what else runs, or expect large models to fail as out-of-memory.",
        )
    return ok("memory", words)


def _disk(disk: Disk) -> Check:
    name = f"disk: {disk.role}"
    remedy = _ROOM[disk.role]
    if not disk.writable:
        return failed(name, f"{disk.path} cannot be written", remedy)
    if disk.free_bytes is None:
        return info(name, f"{disk.path} is not to be seen from here")
    words = f"{disk.free_bytes / (1 << 30):.1f} GiB free at {disk.path}"
    if disk.free_bytes < _FULL_BYTES:
        return failed(name, words, remedy)
    if disk.free_bytes < _ROOMY_BYTES:
        return warning(name, words, remedy)
    return ok(name, words)


_INDEX = (
    "See the network and `python -m pip config list`; an index is named as for pip: "
    "`export PIP_INDEX_URL=https://…/simple`"
)
_CERTIFICATES = (
    "Name the certificates of your proxy: `export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt`"
)
_ROOM = {
    "cache": "Make room, or name a folder elsewhere: `export HARNESS_CACHE=/path/with/room`",
    "results": "Make room, or name a folder elsewhere: `--store /path/with/room`",
    "images": "See what could go with `docker system df`, and remove it: `docker system prune`",
}


def _gib(mib: int) -> str:
    return f"{mib / 1024:.1f}"
