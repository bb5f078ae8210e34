"""How cores lie, read from what kernels of several machines show."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.doctor.machine import describe_machine
from harness.doctor.topology import parse_cores, read_topology

CPUS = "sys/devices/system/cpu"


def show(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("0", (0,)),
        ("0-3,8", (0, 1, 2, 3, 8)),
        ("3,1", (1, 3)),
        ("", ()),
        ("0-", ()),
        ("all", ()),
    ],
)
def test_lists_of_cores_as_the_kernel_writes_them(text: str, cores: tuple[int, ...]) -> None:
    assert parse_cores(text) == cores


def test_two_sockets_with_a_node_each_and_two_threads_a_core(tmp_path: Path) -> None:
    files = {f"{CPUS}/online": "0-7"}
    for core in range(8):
        first = core % 4
        topology = f"{CPUS}/cpu{core}/topology"
        files[f"{topology}/thread_siblings_list"] = f"{first},{first + 4}"
        files[f"{topology}/physical_package_id"] = str(first // 2)
    files["sys/devices/system/node/node0/cpulist"] = "0-1,4-5"
    files["sys/devices/system/node/node1/cpulist"] = "2-3,6-7"
    show(tmp_path, files)
    found = read_topology(tmp_path)
    assert found.sockets == 2
    assert found.nodes == {0: (0, 1, 4, 5), 1: (2, 3, 6, 7)}
    assert found.physical == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert found.cores[6].siblings == (2, 6)
    assert (found.cores[6].socket, found.cores[6].node) == (1, 1)
    assert found.record() == {
        "sockets": 2,
        "numa_nodes": {"0": [0, 1, 4, 5], "1": [2, 3, 6, 7]},
        "physical_cores": [[0, 4], [1, 5], [2, 6], [3, 7]],
        "capacities": [1024],
    }


def test_a_sibling_that_is_switched_off_shares_nothing(tmp_path: Path) -> None:
    show(
        tmp_path,
        {f"{CPUS}/online": "0-1", f"{CPUS}/cpu0/topology/thread_siblings_list": "0,2"},
    )
    found = read_topology(tmp_path)
    assert found.physical == ((0,), (1,))


def test_the_slower_kind_of_a_hybrid_processor_is_told_by_either_way(tmp_path: Path) -> None:
    intel, arm = tmp_path / "intel", tmp_path / "arm"
    show(intel, {f"{CPUS}/online": "0-3", "sys/devices/cpu_atom/cpus": "2-3"})
    show(arm, {f"{CPUS}/online": "0-1", f"{CPUS}/cpu0/cpu_capacity": "446"})
    assert [core.capacity for core in read_topology(intel).cores.values()] == [
        1024,
        1024,
        512,
        512,
    ]
    assert [core.capacity for core in read_topology(arm).cores.values()] == [446, 1024]


def test_where_nothing_is_shown_every_core_stands_alone(tmp_path: Path) -> None:
    found = read_topology(tmp_path)
    assert all(core.siblings == (core.number,) for core in found.cores.values())
    assert (found.sockets, found.nodes) == (1, {})
    assert len(found.cores) >= 1


def test_a_machine_is_recorded_with_its_topology() -> None:
    cpu = describe_machine()["cpu"]
    shown = [core for siblings in cpu["topology"]["physical_cores"] for core in siblings]
    assert set(cpu["usable_cores"]) <= set(shown)
