"""Which cores a cell gets, and that the harness stays off them."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import pytest

from harness.doctor.topology import Core, Topology
from harness.execution import cores as module
from harness.execution.cores import choose_cores, cores_for, keep_off, own_cores


def machine(physical: int, *, threads: int = 1, nodes: int = 1) -> Topology:
    """Numbered as Linux does: the first logical core of every physical one, then the second."""
    cores = {}
    for number in range(physical * threads):
        first = number % physical
        cores[number] = Core(
            number,
            tuple(first + physical * i for i in range(threads)),
            socket=first * nodes // physical,
            node=first * nodes // physical,
        )
    return Topology(cores)


def hybrid() -> Topology:
    """Two fast cores with two threads each, and four slower ones with one."""
    fast = {n: Core(n, (n // 2 * 2, n // 2 * 2 + 1), capacity=1024 - n) for n in range(4)}
    return Topology({**fast, **{n: Core(n, (n,), capacity=512) for n in range(4, 8)}})


@pytest.mark.parametrize(
    ("topology", "threads", "cells", "rest"),
    [
        pytest.param(machine(2), 1, (1,), (0,), id="two cores"),
        pytest.param(machine(4), 2, (2, 3), (0, 1), id="four cores"),
        pytest.param(machine(4), 3, (1, 2, 3), (0,), id="all but the first"),
        # 6 and 7 are the other halves of 2 and 3.
        pytest.param(machine(4, threads=2), 2, (2, 3), (0, 1, 4, 5), id="two threads a core"),
        pytest.param(machine(4, threads=2), 3, (1, 2, 3), (0, 4), id="every other physical core"),
        pytest.param(machine(8, nodes=2), 2, (6, 7), (0, 1, 2, 3, 4, 5), id="in one node"),
        pytest.param(machine(8, nodes=2), 4, (4, 5, 6, 7), (0, 1, 2, 3), id="a whole node"),
        pytest.param(hybrid(), 1, (2,), (0, 1, 4, 5, 6, 7), id="the faster kind"),
    ],
)
def test_a_cell_gets_physical_cores_of_its_own_and_the_harness_the_rest(
    topology: Topology, threads: int, cells: tuple[int, ...], rest: tuple[int, ...]
) -> None:
    found = choose_cores(threads, topology, tuple(topology.cores))
    assert (found.cells, found.rest, found.note) == (cells, rest, "")
    halves = {twin for core in cells for twin in topology.cores[core].siblings} - set(cells)
    assert set(found.idle) == halves
    assert set(found.taken) == {*cells, *halves}


@pytest.mark.parametrize(
    ("topology", "threads", "cells", "rest", "note"),
    [
        pytest.param(
            machine(4, threads=2),
            4,
            (1, 2, 3, 4),
            (0, 5, 6, 7),
            "The harness shares physical cores with the cell.",
            id="as many threads as physical cores",
        ),
        pytest.param(
            machine(4, threads=2),
            6,
            (1, 2, 3, 4, 6, 7),
            (0, 5),
            "Several of the cell's threads share a physical core; the harness shares physical "
            "cores with the cell.",
            id="more threads than physical cores",
        ),
        pytest.param(
            machine(8, nodes=2),
            5,
            (3, 4, 5, 6, 7),
            (0, 1, 2),
            "No NUMA node has so many cores: the cell runs on the nodes 0, 1, and part of its "
            "memory is far.",
            id="more threads than a node has",
        ),
        pytest.param(
            hybrid(),
            3,
            (2, 6, 7),
            (0, 1, 4, 5),
            "The cell runs on cores of different speed.",
            id="more threads than fast cores",
        ),
        pytest.param(
            machine(1, threads=2),
            1,
            (1,),
            (0,),
            "The harness shares physical cores with the cell.",
            id="one physical core",
        ),
    ],
)
def test_what_cannot_be_as_it_should_be_is_said(
    topology: Topology, threads: int, cells: tuple[int, ...], rest: tuple[int, ...], note: str
) -> None:
    found = choose_cores(threads, topology, tuple(topology.cores))
    assert (found.cells, found.rest, found.note) == (cells, rest, note)


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_a_cell_that_needs_every_core_is_not_pinned_and_that_is_said(threads: int) -> None:
    found = choose_cores(threads, machine(2), (0, 1))
    assert (found.cells, found.rest, found.taken) == (None, (0, 1), ())
    assert found.note == (
        f"The cell's {threads} threads need all 2 cores: the harness cannot stay off them."
    )


def test_the_node_is_that_of_all_the_cells_cores() -> None:
    two = machine(8, nodes=2)
    assert choose_cores(4, two, range(8)).node == 1
    assert choose_cores(5, two, range(8)).node is None
    assert choose_cores(1, Topology({}), (0, 1)).node is None


def test_the_node_with_room_is_taken_wherever_core_0_is() -> None:
    """Of the last node only one core may be used, so the cell goes to the one before."""
    found = choose_cores(2, machine(12, nodes=3), (0, 1, 4, 5, 6, 11))
    assert (found.cells, found.node) == ((5, 6), 1)


def test_only_usable_cores_are_given_and_the_lowest_of_them_is_kept() -> None:
    found = choose_cores(1, machine(8), (5, 6))
    assert (found.cells, found.rest) == ((6,), (5,))


def test_cores_that_the_kernel_does_not_show_stand_alone() -> None:
    found = choose_cores(1, Topology({}), (0, 1, 2))
    assert (found.cells, found.rest) == ((2,), (0, 1))


@pytest.mark.parametrize(
    "topology",
    [
        machine(4),
        machine(4, threads=2),
        machine(8, threads=2, nodes=2),
        machine(6, threads=4, nodes=3),
        hybrid(),
    ],
)
def test_fewer_threads_run_on_cores_that_more_threads_have_and_core_0_is_left_for_last(
    topology: Topology,
) -> None:
    usable: Sequence[int] = tuple(topology.cores)
    before: set[int] = set()
    for threads in range(1, len(usable)):
        found = choose_cores(threads, topology, usable)
        assert found.cells is not None
        assert len(found.cells) == threads
        assert before < set(found.cells)
        assert 0 in found.rest
        assert not set(found.taken) & set(found.rest)
        assert sorted({*found.taken, *found.rest}) == sorted(usable)
        before = set(found.cells)


needs_two = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="this process may use one core only: it cannot be kept off another",
)


@needs_two
def test_every_thread_is_kept_off_and_gets_back_what_it_had() -> None:
    usable = sorted(os.sched_getaffinity(0))
    off = usable[-1]
    seen: dict[str, set[int]] = {}
    go, started = threading.Event(), threading.Event()

    def earlier() -> None:
        started.set()
        go.wait(60)
        seen["earlier"] = os.sched_getaffinity(0)

    def later() -> None:
        seen["later"] = os.sched_getaffinity(0)

    thread = threading.Thread(target=earlier)
    thread.start()
    assert started.wait(60)
    stays = threading.Event()
    with keep_off([off]) as kept:
        go.set()
        thread.join()
        new = threading.Thread(target=later)
        new.start()
        new.join()
        lasting = threading.Thread(target=stays.wait, args=(60,))
        lasting.start()
        number = lasting.native_id
        assert number is not None
        seen["main"] = os.sched_getaffinity(0)
        assert own_cores() == usable
    assert kept
    rest = set(usable[:-1])
    assert seen == {"earlier": rest, "later": rest, "main": rest}
    assert sorted(os.sched_getaffinity(0)) == usable
    assert sorted(os.sched_getaffinity(number)) == usable
    stays.set()
    lasting.join()


@needs_two
def test_a_thread_that_was_pinned_before_is_pinned_so_again() -> None:
    usable = sorted(os.sched_getaffinity(0))
    go, pinned = threading.Event(), threading.Event()

    def alone() -> None:
        os.sched_setaffinity(0, {usable[0]})
        pinned.set()
        go.wait(60)

    thread = threading.Thread(target=alone)
    thread.start()
    assert pinned.wait(60)
    number = thread.native_id
    assert number is not None
    with keep_off([usable[-1]]):
        assert os.sched_getaffinity(number) == {usable[0]}
    assert os.sched_getaffinity(number) == {usable[0]}
    go.set()
    thread.join()


@needs_two
def test_one_inside_another_changes_nothing() -> None:
    usable = sorted(os.sched_getaffinity(0))
    with keep_off([usable[-1]]) as outer, keep_off([usable[0]]) as inner:
        assert (outer, inner) == (True, False)
        assert sorted(os.sched_getaffinity(0)) == usable[:-1]
    assert sorted(os.sched_getaffinity(0)) == usable


def test_nothing_is_moved_where_no_core_would_be_left_or_none_is_named() -> None:
    usable = sorted(os.sched_getaffinity(0))
    for cores in (usable, (), None):
        with keep_off(cores) as kept:
            assert not kept
            assert sorted(os.sched_getaffinity(0)) == usable


def test_what_a_cell_gets_does_not_depend_on_where_the_harness_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "read_topology", lambda: machine(4))
    monkeypatch.setattr(module, "usable_cores", lambda: [0, 1])
    assert cores_for(1).cells == (1,)
    monkeypatch.setattr(module._kept, "before", frozenset(range(4)))
    assert cores_for(1).cells == (3,)
