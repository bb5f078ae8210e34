"""What an NVIDIA GPU does at this moment: clocks, power, energy, memory, why it is held back.

Everything is asked of the driver (NVML) and nothing is ever set.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

# NVML's numbers for what is asked: constants of a binding that tests replace by a fake.
_CLOCK_SM = 1
_CLOCK_MEMORY = 2
_SENSOR_GPU = 0


class ClockEvent(NamedTuple):
    """A reason for which a GPU runs at the clocks that it runs at."""

    name: str
    throttles: bool
    """Whether it means that a measurement is not of the GPU as it is meant to be."""


CLOCK_EVENTS = {
    # Nothing runs, so the clocks fall; also between two queries.
    0x1: ClockEvent("idle", throttles=False),
    # A person or `nvidia-smi -lgc / -ac` fixed them: what a careful measurement does.
    0x2: ClockEvent("clocks set by a person", throttles=False),
    # The ordinary state of a card at full load (an L4 is hardly ever without it): the limit is
    # part of the card, and no remedy would take it away. Where it moves the clocks during a
    # session, that is seen in the clocks.
    0x4: ClockEvent("at its power limit", throttles=False),
    # By half or more: too hot, too much power, or the power supply's alarm.
    0x8: ClockEvent("hardware slowdown", throttles=True),
    # Holds several GPUs of one group at the clocks of the slowest.
    0x10: ClockEvent("held at the clocks of its group", throttles=False),
    0x20: ClockEvent("too hot (slowed by the driver)", throttles=True),
    0x40: ClockEvent("too hot (slowed by the hardware)", throttles=True),
    0x80: ClockEvent("power brake of the machine's supply", throttles=True),
    0x100: ClockEvent("clocks set for a display", throttles=False),
    # Like the power limit: what the board and the voltage of this chip allow.
    0x200: ClockEvent("at its board's limit", throttles=False),
    0x400: ClockEvent("at its voltage's limit", throttles=False),
}
"""The bits of NVML's mask `nvmlClocksEventReason*` (before driver 535: `nvmlClocksThrottleReason*`).

Source: NVML API Reference, "NvmlClocksEventReasons"
(https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html) and `nvml.h`. Which of
them throttle is decided here: those by which a GPU protects itself. "New reasons might be added":
a bit that is not here is shown by its number and not held against a measurement.
"""

IDLE_BIT = 0x1
THROTTLING_BITS = sum(bit for bit, event in CLOCK_EVENTS.items() if event.throttles)


def event_names(mask: int) -> list[str]:
    """The reasons in a mask, in words; none for 0."""
    names = [event.name for bit, event in CLOCK_EVENTS.items() if mask & bit]
    unknown = mask & ~sum(CLOCK_EVENTS)
    return [*names, f"unknown reason {unknown:#x}"] if unknown else names


@dataclass(frozen=True)
class GpuReading:
    """A GPU at one moment; None is what it does not say.

    Attributes:
        sm_mhz: clock of its multiprocessors.
        memory_mhz: clock of its memory.
        power_w: what the whole board draws (averaged by the driver over up to a second).
        temperature_c: of the chip, in degrees Celsius.
        throttle_reasons: a mask of `CLOCK_EVENTS`.
        utilisation: percent of the driver's last sampling period in which something ran.
        memory_mib: memory in use, by all programs.
    """

    sm_mhz: int | None
    memory_mhz: int | None
    power_w: float | None
    temperature_c: int | None
    throttle_reasons: int | None
    utilisation: int | None
    memory_mib: int | None


class GpuMeter:
    """Reads one GPU again and again. Open until `close`.

    Of a MIG instance the clocks, the temperature and the reasons are those of the GPU that it is a
    part of, the memory is its own, and power and energy are absent: what the other instances draw
    cannot be told apart.

    Attributes:
        absent: why nothing can be read; empty if it can.
    """

    def __init__(self, uuid: str, nvml: Any = None) -> None:
        self._nvml = nvml if nvml is not None else importlib.import_module("pynvml")
        self._handle: Any = None
        self._whole: Any = None
        self._started = False
        self._split = uuid.startswith("MIG-")
        self.absent = ""
        try:
            self._nvml.nvmlInit()
            self._started = True
            self._handle = self._whole = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
            if self._split:
                self._whole = self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self._handle)
        except self._nvml.NVMLError as error:
            self.close()
            self.absent = f"the NVIDIA driver does not show {uuid}: {error}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self) -> GpuReading | None:
        """The GPU now; None if it cannot be read at all."""
        if self._handle is None:
            return None
        nvml, whole = self._nvml, self._whole
        return GpuReading(
            sm_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(whole, _CLOCK_SM)),
            memory_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(whole, _CLOCK_MEMORY)),
            power_w=None if (power := self._power_mw()) is None else power / 1000,
            temperature_c=self._temperature(),
            throttle_reasons=self._reasons(),
            utilisation=None
            if self._split
            else self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(whole).gpu),
            memory_mib=self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(self._handle).used >> 20),
        )

    def energy_mj(self) -> int | None:
        """Millijoules since the driver was loaded (Volta and later); None where it is not told."""
        if self._handle is None or self._split:
            return None
        return self._ask(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._whole))

    def close(self) -> None:
        """Let go of the driver."""
        self._handle = self._whole = None
        if self._started:
            self._started = False
            self._nvml.nvmlShutdown()

    def _power_mw(self) -> int | None:
        if self._split:
            return None
        return self._ask(lambda: self._nvml.nvmlDeviceGetPowerUsage(self._whole))

    def _temperature(self) -> int | None:
        """By the newer of two functions where binding and driver have it."""
        nvml, newer = self._nvml, getattr(self._nvml, "nvmlDeviceGetTemperatureV", None)
        found = self._ask(lambda: newer(self._whole, _SENSOR_GPU)) if newer else None
        if found is None and hasattr(nvml, "nvmlDeviceGetTemperature"):
            found = self._ask(lambda: nvml.nvmlDeviceGetTemperature(self._whole, _SENSOR_GPU))
        return found

    def _reasons(self) -> int | None:
        """Drivers before 535 know the mask by its old name only."""
        nvml = self._nvml
        found = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(self._whole))
        if found is None and hasattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons"):
            found = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._whole))
        return found

    def _ask(self, question: Callable[[], Any]) -> int | None:
        try:
            return int(question())
        except self._nvml.NVMLError:
            return None
