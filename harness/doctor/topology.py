"""How this machine's cores lie: which share a physical core, a socket, a memory node."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CPUS = "sys/devices/system/cpu"
_NODES = "sys/devices/system/node"
_FULL_CAPACITY = 1024
"""What the kernel calls the fastest kind of core (`cpu_capacity`)."""
_EFFICIENT_CAPACITY = 512
"""For the slower kind of a hybrid processor where the kernel names the kind and no number."""


@dataclass(frozen=True)
class Core:
    """One logical core, as the kernel numbers it.

    Attributes:
        number: the logical core.
        siblings: the logical cores of its physical core, itself among them.
        socket: the processor that it is part of; None where the kernel does not say.
        node: the NUMA node whose memory is nearest; None where there are no nodes.
        capacity: how fast it is beside others of this machine; 1024 is the fastest kind.
    """

    number: int
    siblings: tuple[int, ...]
    socket: int | None = None
    node: int | None = None
    capacity: int = _FULL_CAPACITY


@dataclass(frozen=True)
class Topology:
    """The logical cores that are switched on, by number."""

    cores: Mapping[int, Core]

    @property
    def sockets(self) -> int:
        """How many processors there are, at least one."""
        return max(1, len({core.socket for core in self.cores.values()}))

    @property
    def nodes(self) -> dict[int, tuple[int, ...]]:
        """The cores of each NUMA node; empty where the kernel shows none."""
        found: dict[int, list[int]] = {}
        for core in self.cores.values():
            if core.node is not None:
                found.setdefault(core.node, []).append(core.number)
        return {node: tuple(sorted(found[node])) for node in sorted(found)}

    @property
    def physical(self) -> tuple[tuple[int, ...], ...]:
        """The logical cores of each physical core."""
        return tuple(sorted({core.siblings for core in self.cores.values()}))

    def record(self) -> dict[str, Any]:
        """The topology as `session.json` and `environment.json` hold it."""
        return {
            "sockets": self.sockets,
            "numa_nodes": {str(node): list(cores) for node, cores in self.nodes.items()},
            "physical_cores": [list(siblings) for siblings in self.physical],
            "capacities": sorted({core.capacity for core in self.cores.values()}, reverse=True),
        }


def read_topology(root: Path = Path("/")) -> Topology:
    """The topology as the kernel shows it; where it shows nothing, every core stands alone.

    Linux: `Documentation/ABI/stable/sysfs-devices-system-cpu` and `…/sysfs-devices-node`.

    Args:
        root: where /sys is looked for.
    """
    online = parse_cores(_text(root / _CPUS / "online")) or tuple(range(os.cpu_count() or 1))
    nodes = {
        core: int(folder.name.removeprefix("node"))
        for folder in sorted((root / _NODES).glob("node[0-9]*"))
        for core in parse_cores(_text(folder / "cpulist"))
    }
    # Intel's hybrid processors show both kinds as units that count events.
    efficient = frozenset(parse_cores(_text(root / "sys/devices/cpu_atom/cpus")))
    cores = {}
    for number in online:
        folder = root / _CPUS / f"cpu{number}"
        siblings = parse_cores(_text(folder / "topology" / "thread_siblings_list")) or (number,)
        capacity = _number(folder / "cpu_capacity")
        if capacity is None:
            capacity = _EFFICIENT_CAPACITY if number in efficient else _FULL_CAPACITY
        cores[number] = Core(
            number=number,
            # One that is switched off shares nothing.
            siblings=tuple(sorted({number} | (set(siblings) & set(online)))),
            socket=_number(folder / "topology" / "physical_package_id"),
            node=nodes.get(number),
            capacity=capacity,
        )
    return Topology(cores)


def parse_cores(text: str) -> tuple[int, ...]:
    """The cores of a list as the kernel writes it, such as `0-3,8`; empty if it is none."""
    found: set[int] = set()
    for part in text.strip().split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if match is None:
            return ()
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(found))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None
