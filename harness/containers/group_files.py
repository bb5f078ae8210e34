"""A container's control group, read from this machine's files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_BASE = "sys/fs/cgroup"


def peak_of_group(pid: int, number: str, root: Path = Path("/")) -> int | None:
    """The most memory that a container's control group has held so far, in bytes.

    Page cache and memory file systems count. Version 2 says it from Linux 5.19 on
    (`memory.peak`), version 1 always (`memory.max_usage_in_bytes`): the kernel's
    `Documentation/admin-guide/cgroup-v2.rst` and `…/cgroup-v1/memory.rst`.

    Args:
        pid: the container's first process, as the engine says it.
        number: the container's id; a group whose path does not hold it is another's: the engine
            may run in a machine of its own, whose processes have other numbers.
        root: where /proc and /sys are looked for.

    Returns:
        None where the files are not to be seen from here, or do not say it.
    """
    for line in _text(root / "proc" / str(pid) / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        group = _own_group(PurePosixPath(path), number)
        if group is None:
            continue
        if not controllers:
            place = root / _BASE / group / "memory.peak"
        elif "memory" in controllers.split(","):
            place = root / _BASE / "memory" / group / "memory.max_usage_in_bytes"
        else:
            continue
        if (text := _text(place)).isdigit():
            return int(text)
    return None


def _own_group(path: PurePosixPath, number: str) -> PurePosixPath | None:
    """The container's topmost group: what runs in it may have made others below."""
    parts = path.parts[1:]
    # A group outside of what this process may see begins with `..`.
    if ".." in parts:
        return None
    for index, part in enumerate(parts):
        if number in part:
            return PurePosixPath(*parts[: index + 1])
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
