"""A driver with one GPU whose readings a test sets; what is not set it does not support."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """The binding's error, by its number."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class ReadingNvml:
    """Stands in for `pynvml`.

    `values` holds what is asked for: sm, memory, power (mW), energy (mJ), temperature, reasons,
    old_reasons (drivers before 535), busy, used (bytes), and for a MIG instance `instance_used`.
    """

    NVMLError = NVMLError

    def __init__(self, uuid: str = "GPU-1", *, starts: bool = True, **values: int) -> None:
        self.uuid, self.starts, self.values = uuid, starts, values
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.starts:
            raise NVMLError(12)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != self.uuid:
            raise NVMLError(6)
        return "instance" if uuid.startswith("MIG-") else "gpu"

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:  # noqa: N802
        assert handle == "instance"
        return "gpu"

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return self._of("gpu", handle, {1: "sm", 2: "memory"}[kind])

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return self._of("gpu", handle, "power")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        return self._of("gpu", handle, "energy")

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        assert sensor == 0
        return self._of("gpu", handle, "temperature")

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802
        return self._of("gpu", handle, "reasons")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        return self._of("gpu", handle, "old_reasons")

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self._of("gpu", handle, "busy"))

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        name = "used" if handle == "gpu" else "instance_used"
        return SimpleNamespace(used=self._of(handle, handle, name))

    def _of(self, wanted: str, handle: str, name: str) -> int:
        if handle != wanted or name not in self.values:
            raise NVMLError(3)
        return self.values[name]
