"""Joules over intervals, from counters that are files of a test or a fake driver's."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.reading_nvml import ReadingNvml

from harness.execution.energy import EnergyMeter, NvmlEnergy, Rapl


def zone(root: Path, name: str, kind: str, uj: int, most: int = 1_000_000_000) -> Path:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "energy_uj").write_text(f"{uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder


class Machine:
    """A clock that a test moves, and counters that grow by a given power."""

    def __init__(self, watts: dict[str, float], step_ns: int = 1) -> None:
        self.now, self.watts, self.step_ns = 0, watts, step_ns

    def clock(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


class Counter:
    """A source that draws the machine's watts, renewed at every step."""

    absent = ""
    step_s = 0.1

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name = machine, name
        self.drawn_uj, self.last, self.gone = 0.0, 0, False

    def read(self) -> tuple[int, ...] | None:
        if self.gone:
            return None
        now = self.machine.now // self.machine.step_ns * self.machine.step_ns
        self.drawn_uj += (now - self.last) / 1e3 * self.machine.watts[self.name]
        self.last = now
        return (round(self.drawn_uj),)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        return (after[0] - before[0]) / 1e6

    def close(self) -> None:
        self.gone = True


def meter(machine: Machine, *counters: Counter) -> EnergyMeter:
    return EnergyMeter([0], sources=counters, clock=machine.clock, sleep=machine.wait)


def test_the_baseline_is_taken_off() -> None:
    machine = Machine({"rapl": 10.0})
    measured = meter(machine, Counter(machine, "rapl"))
    measured.measure_baseline(1.0)
    machine.watts["rapl"] = 35.0
    spans = []
    for _ in range(4):
        start = measured.mark()
        machine.wait(0.5)
        spans.append((start, measured.mark()))
    entry = measured.account(spans, 100)
    assert entry == {
        "joules_per_query": pytest.approx((35 - 10) * 2.0 / 100, rel=1e-3),
        "power_w": pytest.approx(35.0, rel=1e-3),
        "baseline_w": pytest.approx(10.0, rel=1e-3),
        "source": "rapl",
        "seconds": 2.0,
    }


def test_processor_and_gpu_are_added_up_and_named() -> None:
    machine = Machine({"rapl": 10.0, "nvml": 50.0})
    measured = meter(machine, Counter(machine, "rapl"), Counter(machine, "nvml"))
    measured.measure_baseline(1.0)
    machine.watts.update(rapl=20.0, nvml=250.0)
    start = measured.mark()
    machine.wait(2.0)
    entry = measured.account([(start, measured.mark())], 10)
    assert entry["source"] == "rapl+nvml"
    assert entry["baseline_w"] == pytest.approx(60.0, rel=1e-3)
    assert entry["joules_per_query"] == pytest.approx(210 * 2 / 10, rel=1e-3)


def test_turns_that_are_short_for_a_slow_counter_say_nothing() -> None:
    machine = Machine({"nvml": 50.0}, step_ns=100_000_000)
    measured = meter(machine, Counter(machine, "nvml"))
    measured.measure_baseline(2.0)
    start = measured.mark()
    machine.wait(0.25)
    entry = measured.account([(start, measured.mark())], 10)
    assert entry == {
        "absent": "nvml: turns of 0.25 s are too short for a counter that moves so seldom; with "
        "`timing.round_seconds` 1 they are not"
    }


def test_a_counter_that_is_seen_to_be_fast_may_have_short_turns() -> None:
    machine = Machine({"nvml": 50.0}, step_ns=20_000_000)
    measured = meter(machine, Counter(machine, "nvml"))
    measured.measure_baseline(2.0)
    machine.watts["nvml"] = 150.0
    start = measured.mark()
    machine.wait(0.25)
    assert measured.account([(start, measured.mark())], 10)["source"] == "nvml"


def test_a_counter_that_moves_at_every_look_is_taken_at_its_word() -> None:
    # RAPL steps each millisecond; looks come each five.
    machine = Machine({"rapl": 50.0}, step_ns=1_000_000)
    counter = Counter(machine, "rapl")
    counter.step_s = 0.001
    measured = meter(machine, counter)
    measured.measure_baseline()
    machine.watts["rapl"] = 80.0
    before = measured.mark()
    machine.wait(0.02)
    found = measured.account([(before, measured.mark())], queries=1)
    assert found["joules_per_query"] == pytest.approx(0.6)


def test_no_more_than_at_rest_is_absent_and_not_negative() -> None:
    machine = Machine({"rapl": 10.0})
    measured = meter(machine, Counter(machine, "rapl"))
    measured.measure_baseline(1.0)
    machine.watts["rapl"] = 9.0
    start = measured.mark()
    machine.wait(1.0)
    entry = measured.account([(start, measured.mark())], 10)
    assert entry == {"absent": "it drew 9 W, no more than the 10 W that the machine draws at rest"}


def test_without_a_baseline_nothing_is_claimed() -> None:
    machine = Machine({"rapl": 10.0})
    measured = meter(machine, Counter(machine, "rapl"))
    start = measured.mark()
    machine.wait(1.0)
    entry = measured.account([(start, measured.mark())], 10)
    assert entry == {"absent": "rapl: what is drawn at rest was not measured"}


def test_a_counter_that_stops_is_left_out_and_the_other_stays() -> None:
    machine = Machine({"rapl": 10.0, "nvml": 50.0})
    gpu = Counter(machine, "nvml")
    measured = meter(machine, Counter(machine, "rapl"), gpu)
    measured.measure_baseline(1.0)
    machine.watts["rapl"] = 20.0
    start = measured.mark()
    machine.wait(1.0)
    gpu.gone = True
    entry = measured.account([(start, measured.mark())], 10)
    assert entry["source"] == "rapl"
    assert entry["without"] == {"nvml": "the counter stopped answering while the cell was timed"}


def test_a_machine_without_counters_says_why() -> None:
    measured = EnergyMeter([0], sources=[Rapl([0], Path("/nowhere"))])
    measured.measure_baseline()
    mark = measured.mark()
    assert "no powercap" in measured.absent["rapl"]
    assert measured.account([(mark, mark)], 5) == {"absent": f"rapl: {measured.absent['rapl']}"}


def test_rapl_adds_packages_and_memory_and_leaves_their_parts_and_the_platform_out(
    tmp_path: Path,
) -> None:
    zones = [
        zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        zone(tmp_path, "intel-rapl:0:0", "core", 5),
        zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000),
        zone(tmp_path, "intel-rapl:1", "psys", 7),
    ]
    rapl = Rapl([0], tmp_path)
    before = rapl.read()
    for folder in zones:
        (folder / "energy_uj").write_text("4000000\n")
    after = rapl.read()
    assert before == (1_000_000, 2_000_000)
    assert after is not None
    assert rapl.joules(before, after) == pytest.approx(3.0 + 2.0)


def test_only_the_processor_that_cells_run_on_is_counted(tmp_path: Path) -> None:
    cpus = tmp_path / "sys/devices/system/cpu"
    for core, socket in ((0, 0), (1, 1)):
        (cpus / f"cpu{core}/topology").mkdir(parents=True)
        (cpus / f"cpu{core}/topology/physical_package_id").write_text(f"{socket}\n")
    (cpus / "online").write_text("0-1\n")
    zone(tmp_path, "intel-rapl:0", "package-0", 11)
    zone(tmp_path, "intel-rapl:1", "package-1", 22)
    zone(tmp_path, "intel-rapl:1:0", "dram", 33)
    zone(tmp_path, "intel-rapl:0:0", "dram", 44)
    assert Rapl([1], tmp_path).read() == (22, 33)
    assert Rapl([0, 1], tmp_path).read() == (11, 22, 44, 33)


def test_a_counter_that_ran_over_is_unwound(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0, most=1_000_000)
    assert Rapl([0], tmp_path).joules((900_000,), (100_000,)) == pytest.approx(0.2)


def test_a_counter_that_only_root_may_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    read = Path.read_text

    def guarded(path: Path, **kwargs: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "denied")
        return read(path, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    assert Rapl([0], tmp_path).absent == f"only root may read {folder / 'energy_uj'}"


def test_a_gpu_counts_millijoules() -> None:
    nvml = ReadingNvml(energy=5000)
    source = NvmlEnergy("GPU-1", nvml)
    before = source.read()
    nvml.values["energy"] = 12_500
    after = source.read()
    assert (before, after) == ((5000,), (12_500,))
    assert source.joules((5000,), (12_500,)) == 7.5
    assert "does not count its energy" in NvmlEnergy("GPU-1", ReadingNvml()).absent
