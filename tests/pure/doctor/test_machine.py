"""What is recorded of a machine, and how its processor and disks are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.doctor.facts import disk, processor
from harness.doctor.gpus import Gpu
from harness.doctor.machine import describe_machine


def test_a_cell_on_the_cpu_records_no_gpu() -> None:
    machine = describe_machine()
    assert machine["gpu"] is None
    assert machine["memory_mib"] > 0


def test_a_cell_on_a_gpu_records_which() -> None:
    gpu = Gpu(1, "GPU-1", "NVIDIA L4", 23034, "580.82.07", "13.0")
    assert describe_machine(gpu)["gpu"] == {
        "index": 1,
        "uuid": "GPU-1",
        "name": "NVIDIA L4",
        "memory_mib": 23034,
        "driver": "580.82.07",
        "cuda": "13.0",
    }


@pytest.mark.parametrize(
    ("files", "turbo"),
    [
        ({"intel_pstate/no_turbo": "0"}, True),
        ({"intel_pstate/no_turbo": "1"}, False),
        ({"cpufreq/boost": "1"}, True),
        ({"cpufreq/boost": "0"}, False),
        ({}, None),
    ],
)
def test_turbo_by_either_driver(tmp_path: Path, files: dict[str, str], turbo: bool | None) -> None:
    for name, text in {**files, "smt/active": "1"}.items():
        path = tmp_path / "sys/devices/system/cpu" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    found = processor(tmp_path)
    assert (found.turbo, found.smt, found.governor) == (turbo, True, None)


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    found = disk("results", tmp_path / "not" / "yet")
    assert found.path == str(tmp_path / "not" / "yet")
    assert found.writable
    assert found.free_bytes is not None
    assert found.free_bytes > 0


def test_a_file_in_the_way_cannot_be_written_below(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not disk("results", tmp_path / "file" / "store").writable
