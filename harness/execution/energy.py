"""Energy: what processor and GPU drew over an interval, with the idle baseline taken off."""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from harness.doctor.gpu_readings import GpuMeter
from harness.doctor.topology import read_topology

_POWERCAP = "sys/class/powercap"
# An interval that is so many times as long as a counter's step is known to a tenth.
_STEPS = 10
# How often a counter is renewed is looked for while the baseline is measured; what is not seen to
# move is taken to be as slow as this. Drivers renew a GPU's power every 20 to 100 ms (measured on
# more than 70 GPUs: Yang, Adamek, Armour, "Part-time Power Measurements: nvidia-smi's Lack of
# Attention", arXiv:2312.02741); RAPL is renewed about every millisecond (Intel SDM volume 3,
# "RAPL Interfaces").
_NVML_STEP_S = 0.1
_RAPL_STEP_S = 0.001
_LOOK_S = 0.005


class EnergySource(Protocol):
    """Something that counts energy.

    Attributes:
        name: `rapl` or `nvml`.
        absent: why it cannot be read; empty if it can.
        step_s: how long its counter stands still at most, where nothing else is known.
    """

    name: str
    absent: str
    step_s: float

    def read(self) -> tuple[int, ...] | None:
        """Its counters as they stand; None if it stopped answering."""

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """What was drawn between two readings."""

    def close(self) -> None:
        """Let go of what it holds."""


class Rapl:
    """The processors' own counters, through Linux's powercap: packages and their memory.

    Linux: `Documentation/power/powercap/powercap.rst`. A package's zone holds its cores and
    caches; memory (`dram`) is counted beside it where the processor counts it. `psys` holds both
    and more, so it is left out. The counters are of whole processors: what other programs draw is
    in them too.
    """

    name = "rapl"
    step_s = _RAPL_STEP_S

    def __init__(self, cores: Sequence[int], root: Path = Path("/")) -> None:
        self.absent = ""
        self._zones = _zones(cores, root)
        if not self._zones:
            self.absent = (
                "the kernel shows no energy counter of the processor (no powercap), as in most "
                "virtual machines"
            )
            return
        try:
            self._ranges = [_integer(zone / "max_energy_range_uj") for zone in self._zones]
            for zone in self._zones:
                _integer(zone / "energy_uj")
        except PermissionError:
            self.absent = f"only root may read {self._zones[0] / 'energy_uj'}"
        except (OSError, ValueError) as error:
            self.absent = f"the processor's energy counter cannot be read: {error}"

    def read(self) -> tuple[int, ...] | None:
        """Microjoules of each zone."""
        with contextlib.suppress(OSError, ValueError):
            return tuple(_integer(zone / "energy_uj") for zone in self._zones)
        return None

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """A counter that ran over did so once: that takes minutes at full load."""
        return (
            sum(
                end - start if end >= start else end - start + whole
                for start, end, whole in zip(before, after, self._ranges, strict=True)
            )
            / 1e6
        )

    def close(self) -> None:
        """Holds nothing."""


class NvmlEnergy:
    """The GPU's own counter (`nvmlDeviceGetTotalEnergyConsumption`): the whole board's."""

    name = "nvml"
    step_s = _NVML_STEP_S

    def __init__(self, uuid: str, nvml: Any = None) -> None:
        self._meter = GpuMeter(uuid, nvml)
        self.absent = self._meter.absent
        if not self.absent and self._meter.energy_mj() is None:
            self.absent = "this GPU does not count its energy (before Volta, or a MIG instance)"

    def read(self) -> tuple[int, ...] | None:
        """Millijoules since the driver was loaded."""
        millijoules = self._meter.energy_mj()
        return None if millijoules is None else (millijoules,)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """64 bits do not run over."""
        return (after[0] - before[0]) / 1e3

    def close(self) -> None:
        """Let go of the driver."""
        self._meter.close()


@dataclass(frozen=True)
class EnergyMark:
    """The counters at one moment, by source."""

    t_ns: int
    counters: Mapping[str, tuple[int, ...]]


class EnergyMeter:
    """Joules over intervals, of all sources that this machine has.

    First `measure_baseline` while everything that is loaded waits; then `mark` before and after
    each interval; `account` makes of a cell's intervals its entry in `session.json`.

    Attributes:
        absent: why a source cannot be read, by source.
    """

    def __init__(
        self,
        cores: Sequence[int],
        gpu: str | None = None,
        *,
        sources: Sequence[EnergySource] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look for counters.

        Args:
            cores: the leased logical cores: their processors are counted.
            gpu: the leased GPU's UUID, if one is.
            sources: what to read; None for what this machine has.
            clock: nanoseconds, monotonic.
            sleep: waits so many seconds.
        """
        if sources is None:
            sources = [Rapl(cores), *([NvmlEnergy(gpu)] if gpu else [])]
        self._sources = [source for source in sources if not source.absent]
        for source in sources:
            if source.absent:
                source.close()
        self._clock, self._sleep = clock, sleep
        self._baseline_w: dict[str, float] = {}
        self._shortest_s: dict[str, float] = {}
        self.absent = {source.name: source.absent for source in sources if source.absent}

    def measure_baseline(self, seconds: float = 2.0) -> None:
        """Measure what is drawn while nothing is timed. Call it when all workers wait.

        Args:
            seconds: how long; a second at least says something of a GPU too.
        """
        if not self._sources:
            return
        marks = [self.mark()]
        while marks[-1].t_ns - marks[0].t_ns < seconds * 1e9:
            self._sleep(_LOOK_S)
            marks.append(self.mark())
        elapsed = (marks[-1].t_ns - marks[0].t_ns) / 1e9
        for source in self._sources:
            joules = self._joules(source, marks[0], marks[-1])
            self._shortest_s[source.name] = _STEPS * _usual_step_s(source, marks)
            if joules is not None and elapsed >= self._shortest_s[source.name]:
                self._baseline_w[source.name] = joules / elapsed

    def mark(self) -> EnergyMark:
        """The counters now."""
        counters = {
            source.name: reading
            for source in self._sources
            if (reading := source.read()) is not None
        }
        return EnergyMark(self._clock(), counters)

    def account(
        self, spans: Sequence[tuple[EnergyMark, EnergyMark]], queries: int
    ) -> dict[str, Any]:
        """A cell's entry under `energy` in `session.json`.

        Args:
            spans: marks before and after each interval in which the cell worked and nothing else.
            queries: how many images it went through in them, warm-ups included.

        Returns:
            `joules_per_query` (baseline taken off), `power_w` (drawn on average, baseline in it),
            `baseline_w`, `source` (`rapl`, `nvml` or `rapl+nvml`: their sum), `seconds`, and
            `without`: why a source is not in it, by source. Or `absent`: why there is nothing.
        """
        seconds = sum(end.t_ns - start.t_ns for start, end in spans) / 1e9
        without = dict(self.absent)
        joules: dict[str, float] = {}
        for source in self._sources:
            amounts = [self._joules(source, start, end) for start, end in spans]
            known = [amount for amount in amounts if amount is not None]
            if not spans or len(known) < len(amounts):
                without[source.name] = "the counter stopped answering while the cell was timed"
            elif source.name not in self._baseline_w:
                without[source.name] = "what is drawn at rest was not measured"
            elif seconds / len(spans) < self._shortest_s[source.name]:
                without[source.name] = (
                    f"turns of {seconds / len(spans):.2g} s are too short for a counter that moves "
                    f"so seldom; with `timing.round_seconds` {self._shortest_s[source.name]:.2g} "
                    "they are not"
                )
            else:
                joules[source.name] = sum(known)
        if not joules:
            return {"absent": "; ".join(f"{name}: {why}" for name, why in without.items())}
        baseline_w = sum(self._baseline_w[name] for name in joules)
        drawn = sum(joules.values())
        if queries < 1 or drawn <= baseline_w * seconds:
            return {
                "absent": f"it drew {drawn / seconds:.4g} W, no more than the "
                f"{baseline_w:.4g} W that the machine draws at rest"
            }
        entry: dict[str, Any] = {
            "joules_per_query": (drawn - baseline_w * seconds) / queries,
            "power_w": drawn / seconds,
            "baseline_w": baseline_w,
            "source": "+".join(joules),
            "seconds": seconds,
        }
        return {**entry, "without": without} if without else entry

    def close(self) -> None:
        """Let go of the counters."""
        for source in self._sources:
            source.close()

    @staticmethod
    def _joules(source: EnergySource, start: EnergyMark, end: EnergyMark) -> float | None:
        if source.name not in start.counters or source.name not in end.counters:
            return None
        return source.joules(start.counters[source.name], end.counters[source.name])


def _usual_step_s(source: EnergySource, marks: Sequence[EnergyMark]) -> float:
    """How long the counter stands still between two moves, as far as they were seen."""
    moved = [
        after.t_ns
        for before, after in pairwise(marks)
        if before.counters.get(source.name) != after.counters.get(source.name)
    ]
    if len(moved) < 3:
        return source.step_s
    # The median: who looks may be late, and the counter is not.
    seen = statistics.median(after - before for before, after in pairwise(moved)) / 1e9
    # What moved at every look moves more often than was looked.
    return min(seen, source.step_s) if len(moved) == len(marks) - 1 else seen


def _zones(cores: Sequence[int], root: Path) -> list[Path]:
    """The zones of the processors that these cores are on, and of their memory."""
    topology = read_topology(root).cores
    sockets = {topology[core].socket for core in cores if core in topology} - {None}
    folder = root / _POWERCAP
    names = {zone.name: _name(zone) for zone in sorted(folder.glob("intel-rapl:*"))}
    packages = []
    for zone, name in names.items():
        match = re.fullmatch(r"package-(\d+)(-die-\d+)?", name)
        if match and (not sockets or int(match[1]) in sockets):
            packages.append(zone)
    memory = [
        zone
        for zone, name in names.items()
        if name == "dram" and zone.rpartition(":")[0] in packages
    ]
    return [folder / zone for zone in (*packages, *memory)]


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _integer(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
