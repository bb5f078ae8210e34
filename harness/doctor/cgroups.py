"""What the control group of this process allows, which may be less than the machine has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Version 1 writes a number near 2**63 for "no limit".
_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class GroupLimits:
    """Limits that hold for this process; None where there is none."""

    cpus: float | None = None
    memory_mib: int | None = None


def group_limits(root: Path = Path("/")) -> GroupLimits:
    """The tightest limits over the process's control group and those above it.

    Args:
        root: where /proc and /sys are looked for.
    """
    groups = _groups(root)
    cpus: list[float] = []
    memory: list[int] = []
    base = root / "sys/fs/cgroup"
    for folder in _upward(base, groups.get("")):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            cpus.append(int(quota) / int(period))
        memory += _bytes(folder / "memory.max")
    for folder in _upward(base / "cpu", groups.get("cpu")):
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            cpus.append(int(quota) / int(period))
    for folder in _upward(base / "memory", groups.get("memory")):
        memory += _bytes(folder / "memory.limit_in_bytes")
    return GroupLimits(
        cpus=min(cpus, default=None), memory_mib=min(memory) >> 20 if memory else None
    )


def _groups(root: Path) -> dict[str, PurePosixPath]:
    """Controller (empty for version 2) to the group's path."""
    found = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            found[controller] = PurePosixPath(path)
    return found


def _upward(base: Path, group: PurePosixPath | None) -> Iterator[Path]:
    """The group's folder and those above; inside a container only the topmost is to be seen."""
    if group is None:
        return
    for path in (group, *group.parents):
        yield base / str(path).lstrip("/")


def _bytes(path: Path) -> list[int]:
    text = _read(path)
    return [int(text)] if text.isdigit() and int(text) < _UNLIMITED else []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
