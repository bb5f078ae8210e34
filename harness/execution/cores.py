"""The cores that timed cells run on, and keeping everything else of the harness off them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.doctor.machine import usable_cores
from harness.doctor.topology import Core, Topology, read_topology

_TASKS = Path("/proc/self/task")
_SAME_KIND = 0.8
"""Cores of one kind differ by a few percent (some may clock higher); kinds by a third or more."""


@dataclass(frozen=True)
class CoreChoice:
    """Which cores a cell runs on, and which are left to the harness.

    Attributes:
        cells: what the cell is pinned to, sorted; None: it needs all that there are, so it is
            not pinned.
        rest: what the harness stays on while others are timed; all where the cell needs all.
        idle: what neither may use: the other halves of the cell's physical cores. Empty where
            nothing would be left to the harness.
        node: the NUMA node of the cell's cores; None where there is none, or more than one.
        note: what is not as it should be, for a person; empty if all is well.
    """

    cells: tuple[int, ...] | None
    rest: tuple[int, ...]
    idle: tuple[int, ...] = ()
    node: int | None = None
    note: str = ""

    @property
    def taken(self) -> tuple[int, ...]:
        """What the harness keeps off: give it to `keep_off`."""
        return tuple(sorted((*(self.cells or ()), *self.idle)))


def choose_cores(threads: int, topology: Topology, usable: Sequence[int]) -> CoreChoice:
    """Choose the cores of a cell.

    The cores are put in one order, and a cell gets as many of the first as it has threads. So
    cells that are timed against each other share cores: what one with fewer threads has is part
    of what one with more has. The physical core with the lowest number, where the kernel does
    most of its own work, is kept for the harness as long as that goes. In that order come

    1. one logical core of each other physical core, the fastest kind first, all of one NUMA node
       before the next: the node with the most of them, and of equal ones the last;
    2. the second logical core of the one that is kept, since two threads on one physical core
       are slower than on two;
    3. the other logical cores of 1;
    4. what is left of the one that is kept, its lowest last.

    Args:
        threads: how many threads compute at once.
        topology: of the machine.
        usable: the cores that this process may use.
    """
    usable = tuple(sorted(set(usable)))
    if threads >= len(usable):
        note = (
            f"The cell's {threads} threads need all {len(usable)} cores: the harness cannot stay "
            "off them."
        )
        return CoreChoice(None, usable, node=_node_of(usable, topology), note=note)
    cells = tuple(sorted(_ordered(topology, usable)[:threads]))
    left = [core for core in usable if core not in cells]
    beside = {twin for core in cells for twin in _core(topology, core).siblings}
    rest = tuple(core for core in left if core not in beside)
    notes = _notes(cells, topology)
    if rest:
        idle = tuple(core for core in left if core in beside)
    else:
        rest, idle = tuple(left), ()
        notes.append("the harness shares physical cores with the cell")
    said = "; ".join(notes)
    return CoreChoice(
        cells,
        rest,
        idle,
        _node_of(cells, topology),
        f"{said[0].upper()}{said[1:]}." if said else "",
    )


def cores_for(threads: int) -> CoreChoice:
    """The choice on this machine, from the cores that this process had before `keep_off`."""
    return choose_cores(threads, read_topology(), own_cores())


def _core(topology: Topology, number: int) -> Core:
    """A core; of one that the kernel does not show, nothing is known."""
    return topology.cores.get(number) or Core(number, (number,))


def _ordered(topology: Topology, usable: Sequence[int]) -> list[int]:
    """The usable cores, those that a cell should have first."""
    physical: dict[tuple[int, ...], list[int]] = {}
    for number in sorted(usable):
        physical.setdefault(_core(topology, number).siblings, []).append(number)
    # Sorted by their lowest usable core; the first stays the harness's as long as that goes.
    kept, *others = sorted(physical.values())
    kinds = _kinds(topology, usable)
    room: dict[tuple[int, int], int] = {}
    for twins in others:
        place = kinds[twins[0]], _node(topology, twins[0])
        room[place] = room.get(place, 0) + 1

    def rank(twins: list[int]) -> tuple[int, ...]:
        kind, node = kinds[twins[0]], _node(topology, twins[0])
        return (kind, -room[kind, node], -node, -twins[0])

    others.sort(key=rank)
    ordered = [twins[0] for twins in others]
    ordered += kept[1:2]
    ordered += [twin for twins in others for twin in twins[1:]]
    ordered += [*kept[2:], kept[0]]
    return ordered


def _kinds(topology: Topology, cores: Sequence[int]) -> dict[int, int]:
    """The kind of each core by its speed: 0 is the fastest."""
    kinds: dict[int, int] = {}
    kind, fastest = -1, float("inf")
    for core in sorted(cores, key=lambda one: -_core(topology, one).capacity):
        capacity = _core(topology, core).capacity
        if kind < 0 or capacity < _SAME_KIND * fastest:
            kind, fastest = kind + 1, capacity
        kinds[core] = kind
    return kinds


def _node(topology: Topology, core: int) -> int:
    node = _core(topology, core).node
    return 0 if node is None else node


def _node_of(cores: Sequence[int], topology: Topology) -> int | None:
    nodes = {_core(topology, core).node for core in cores}
    return nodes.pop() if len(nodes) == 1 else None


def _notes(cells: Sequence[int], topology: Topology) -> list[str]:
    found = [_core(topology, core) for core in cells]
    notes = []
    if len({core.siblings for core in found}) < len(found):
        notes.append("several of the cell's threads share a physical core")
    nodes = sorted({core.node for core in found if core.node is not None})
    if len(nodes) > 1:
        notes.append(
            f"no NUMA node has so many cores: the cell runs on the nodes "
            f"{', '.join(map(str, nodes))}, and part of its memory is far"
        )
    if len(set(_kinds(topology, cells).values())) > 1:
        notes.append("the cell runs on cores of different speed")
    return notes


class _Kept:
    """What this process could use before its threads were moved; one move at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.before: frozenset[int] | None = None


_kept = _Kept()


def own_cores() -> list[int]:
    """The cores that this process may use, also while `keep_off` holds it to a part of them."""
    before = _kept.before
    return usable_cores() if before is None else sorted(before)


@contextlib.contextmanager
def keep_off(cores: Sequence[int] | None) -> Iterator[bool]:
    """Keep every thread of this process off these cores, also those that are started meanwhile.

    At the end each thread gets back what it had. Child processes that are started meanwhile
    inherit what this one is held to (a worker is given its own cores: see `ProcessWorker`).
    Inside another `keep_off` of this process it does nothing.

    Args:
        cores: what to stay off; None or empty: nothing.

    Yields:
        Whether the process is off them: not where no core would be left, nor where the system
        does not pin threads.
    """
    taken = frozenset(cores or ())
    if not taken or not hasattr(os, "sched_setaffinity") or not _kept.lock.acquire(blocking=False):
        yield False
        return
    try:
        before = frozenset(os.sched_getaffinity(0))
        if not before - taken:
            yield False
            return
        _kept.before = before
        threads = _move(before - taken, taken)
        try:
            yield not os.sched_getaffinity(0) & taken
        finally:
            _restore(threads, before)
            _kept.before = None
    finally:
        _kept.lock.release()


def _threads() -> set[int]:
    """This process's threads by the kernel's numbers; only the first where it shows none."""
    if not _TASKS.is_dir():
        return {0}
    return {int(task.name) for task in _TASKS.iterdir()}


def _move(fallback: frozenset[int], taken: frozenset[int]) -> dict[int, frozenset[int]]:
    """Move every thread; what each was allowed before."""
    before: dict[int, frozenset[int]] = {}
    # A thread inherits from the one that starts it, which may not have been moved yet.
    while new := _threads() - set(before):
        for thread in new:
            before[thread] = frozenset()
            # It ended meanwhile, or a control group took the cores away.
            with contextlib.suppress(OSError):
                before[thread] = frozenset(os.sched_getaffinity(thread))
                os.sched_setaffinity(thread, (before[thread] - taken) or fallback)
    return before


def _restore(before: dict[int, frozenset[int]], whole: frozenset[int]) -> None:
    """Give every thread what it had; those that came since get what the process had."""
    done: set[int] = set()
    while new := _threads() - done:
        for thread in new:
            done.add(thread)
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, before.get(thread) or whole)
