"""Samples of a machine whose /proc and /sys are files of a test."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from support.reading_nvml import ReadingNvml

from harness.errors import ExecutionError
from harness.execution.machine_samples import Sampler
from harness.execution.machine_sources import (
    BusySource,
    CoreTimes,
    GpuSource,
    ProcessorSource,
    read_core_times,
    snapshot,
)

MS = 1_000_000


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(f"{text}\n", encoding="ascii")


def stat(root: Path, **cores: tuple[int, int, int]) -> None:
    """/proc/stat with idle, iowait and steal of each core in hundredths of a second."""
    lines = ["cpu  1 0 0 0 0 0 0 0 0 0"]
    lines += [
        f"{name} 500 0 20 {idle} {waiting} 0 3 {steal} 0 0"
        for name, (idle, waiting, steal) in cores.items()
    ]
    put(root, "proc/stat", "\n".join([*lines, "intr 0", "ctxt 1"]))


def test_busy_is_what_was_neither_idle_nor_waiting_nor_stolen(tmp_path: Path) -> None:
    stat(tmp_path, cpu0=(100, 10, 5), cpu1=(200, 0, 0))
    at = iter([5000 * MS, 6000 * MS])
    first = read_core_times([0, 1], root=tmp_path, clock=lambda: next(at))
    stat(tmp_path, cpu0=(130, 20, 10), cpu1=(300, 0, 0))
    later = read_core_times([0, 1], root=tmp_path, clock=lambda: next(at))
    # Of a second, 300 ms idle, 100 ms waiting for a disk, 50 ms stolen.
    assert later[0].since(first[0]) == CoreTimes(550 * MS, 50 * MS)
    assert later[1].since(first[1]) == CoreTimes(0, 0)


def test_rounded_counters_never_make_a_time_negative() -> None:
    assert CoreTimes(100, 0).since(CoreTimes(110, 10)) == CoreTimes(0, 0)


def test_a_snapshot_adds_its_cores_up(tmp_path: Path) -> None:
    stat(tmp_path, cpu0=(100, 0, 5), cpu1=(200, 0, 2), cpu2=(0, 0, 90))
    found = snapshot([0, 1], root=tmp_path)
    assert found is not None
    assert found.steal_ns == 70 * MS


@pytest.mark.parametrize("text", ["", "cpu0 0 0 0 0 0 0 0 0 0 0", "cpu0 5 0 5 5"])
def test_a_kernel_that_shows_no_cores_gives_no_snapshot(tmp_path: Path, text: str) -> None:
    assert snapshot([0], root=tmp_path) is None
    put(tmp_path, "proc/stat", text)
    assert snapshot([0], root=tmp_path) is None
    assert BusySource([0], tmp_path).absent() == {
        "busy_ns": "/proc/stat does not show these cores here",
        "steal_ns": "/proc/stat does not show these cores here",
    }
    assert BusySource([0], tmp_path).read() == {}


def test_one_core_that_is_missing_makes_no_half_snapshot(tmp_path: Path) -> None:
    stat(tmp_path, cpu0=(100, 0, 5))
    assert snapshot([0, 1], root=tmp_path) is None
    assert snapshot([], root=tmp_path) is None


def test_the_other_hardware_thread_of_a_leased_core_is_watched_too(tmp_path: Path) -> None:
    put(tmp_path, "sys/devices/system/cpu/online", "0-3")
    for core, twins in {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}.items():
        path = f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        put(tmp_path, path, twins)
    stat(tmp_path, cpu0=(0, 0, 0), cpu1=(0, 0, 0), cpu2=(0, 0, 0), cpu3=(0, 0, 0))
    source = BusySource([1], tmp_path)
    stat(tmp_path, cpu0=(0, 0, 0), cpu1=(0, 0, 7), cpu2=(0, 0, 0), cpu3=(0, 0, 0))
    fields = source.read()
    assert source.absent() == {}
    assert fields["steal_ns"] == {"1": 70 * MS}
    assert list(fields["busy_ns"]) == ["1"]
    assert list(fields["sibling_busy_ns"]) == ["3"]


def test_clocks_throttles_and_temperature_are_read(tmp_path: Path) -> None:
    for core, khz in ((2, 3_100_000), (3, 2_900_500)):
        cpu = f"sys/devices/system/cpu/cpu{core}"
        put(tmp_path, f"{cpu}/cpufreq/scaling_cur_freq", str(khz))
        put(tmp_path, f"{cpu}/thermal_throttle/core_throttle_count", str(core))
        put(tmp_path, f"{cpu}/thermal_throttle/package_throttle_count", "10")
        put(tmp_path, f"{cpu}/topology/physical_package_id", "0")
    put(tmp_path, "sys/class/hwmon/hwmon0/name", "nvme")
    put(tmp_path, "sys/class/hwmon/hwmon0/temp1_input", "99000")
    put(tmp_path, "sys/class/hwmon/hwmon1/name", "k10temp")
    put(tmp_path, "sys/class/hwmon/hwmon1/temp1_input", "51500")
    put(tmp_path, "sys/class/hwmon/hwmon1/temp2_input", "63250")
    source = ProcessorSource([2, 3], tmp_path)
    fields = source.read()
    assert fields.pop("load") >= 0
    assert fields == {
        "mhz": {"2": 3100.0, "3": 2900.5},
        "throttle_count": 2 + 3 + 10,
        "temperature_c": 63.25,
    }
    assert source.absent() == {}


def test_a_thermal_zone_of_the_processor_serves_where_there_is_no_sensor(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "iwlwifi")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "90000")
    put(tmp_path, "sys/class/thermal/thermal_zone1/type", "x86_pkg_temp")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "48000")
    assert ProcessorSource([0], tmp_path).read()["temperature_c"] == 48.0


def test_a_virtual_machine_that_shows_nothing_says_so_in_words(tmp_path: Path) -> None:
    absent = ProcessorSource([0], tmp_path).absent()
    assert set(absent) == {"mhz", "throttle_count", "temperature_c"}
    assert "no cpufreq" in absent["mhz"]


def test_a_gpu_fills_in_what_its_driver_says() -> None:
    source = GpuSource("GPU-1", ReadingNvml(sm=1500, power=70_000, reasons=1))
    assert source.read() == {"gpu": {"sm_mhz": 1500, "power_w": 70.0, "throttle_reasons": 1}}
    assert source.absent() == {}
    source.close()


def test_a_gpu_that_is_not_there_is_absent() -> None:
    source = GpuSource("GPU-9", ReadingNvml())
    assert source.read() == {}
    assert source.absent() == {"gpu": "the NVIDIA driver does not show GPU-9: error 6"}


class Counting:
    """A source that counts how often it was read, and tells when it was often enough."""

    def __init__(self, enough: int = 0) -> None:
        self.reads, self.closed, self.enough = 0, 0, enough
        self.done = threading.Event()

    def absent(self) -> dict[str, str]:
        return {"mhz": "there are none"}

    def read(self) -> dict[str, Any]:
        self.reads += 1
        if self.reads >= self.enough:
            self.done.set()
        return {"reads": self.reads}

    def close(self) -> None:
        self.closed += 1


def test_samples_are_taken_at_start_at_a_steady_pace_and_at_the_end(tmp_path: Path) -> None:
    source = Counting(enough=4)
    path = tmp_path / "samples.jsonl"
    with Sampler(path, [0], interval_s=0.001, started_ns=0, sources=[source]) as sampler:
        assert source.done.wait(10)
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    assert [sample["reads"] for sample in samples] == list(range(1, len(samples) + 1))
    assert len(samples) >= 5
    times = [sample["t_ns"] for sample in samples]
    assert times == sorted(times)
    assert samples[0]["absent"] == sampler.absent == {"mhz": "there are none"}
    assert "absent" not in samples[1]
    assert source.closed == 1


def test_times_count_from_the_session_start(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with Sampler(path, [0], interval_s=60, sources=[Counting()]):
        pass
    first, last = (json.loads(line)["t_ns"] for line in path.read_text().splitlines())
    assert 0 <= first <= last < 60e9


def test_a_full_disk_ends_the_session_in_words(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(ExecutionError, match="samples cannot be written") as refused,
        Sampler(Path("/dev/full"), [0], interval_s=60, sources=[Counting()]),
    ):
        pass
    assert refused.value.kind == "disk-full"


def test_a_full_disk_does_not_hide_what_went_wrong_before_it() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(ZeroDivisionError),
        Sampler(Path("/dev/full"), [0], interval_s=60, sources=[Counting()]),
    ):
        _ = 1 / 0
