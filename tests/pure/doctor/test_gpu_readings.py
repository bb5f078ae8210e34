"""What a GPU does at a moment, asked of a driver that is a fake."""

from __future__ import annotations

from support.reading_nvml import ReadingNvml

from harness.doctor.gpu_readings import (
    CLOCK_EVENTS,
    THROTTLING_BITS,
    GpuMeter,
    GpuReading,
    event_names,
)

WHOLE = {
    "sm": 1980,
    "memory": 2619,
    "power": 312_500,
    "energy": 7_000_001,
    "temperature": 41,
    "reasons": 0x4,
    "busy": 97,
    "used": 3 << 30,
}


def test_everything_that_the_driver_says_is_read() -> None:
    nvml = ReadingNvml(**WHOLE)
    with GpuMeter("GPU-1", nvml) as meter:
        assert meter.absent == ""
        assert meter.read() == GpuReading(1980, 2619, 312.5, 41, 0x4, 97, 3072)
        assert meter.energy_mj() == 7_000_001
        assert nvml.open == 1
    assert nvml.open == 0


def test_what_the_driver_does_not_say_is_none() -> None:
    meter = GpuMeter("GPU-1", ReadingNvml(sm=210))
    assert meter.read() == GpuReading(210, None, None, None, None, None, None)
    assert meter.energy_mj() is None


def test_reasons_are_asked_by_their_old_name_of_an_old_driver() -> None:
    reading = GpuMeter("GPU-1", ReadingNvml(old_reasons=0x40)).read()
    assert reading is not None
    assert reading.throttle_reasons == 0x40


def test_temperature_is_asked_by_the_newer_function_first() -> None:
    nvml = ReadingNvml(temperature=41)
    nvml.nvmlDeviceGetTemperatureV = lambda *_: 55  # type: ignore[attr-defined]
    reading = GpuMeter("GPU-1", nvml).read()
    assert reading is not None
    assert reading.temperature_c == 55


def test_a_part_of_a_split_gpu_has_memory_of_its_own_and_no_power() -> None:
    nvml = ReadingNvml("MIG-1", **WHOLE, instance_used=1 << 30)
    meter = GpuMeter("MIG-1", nvml)
    assert meter.read() == GpuReading(1980, 2619, None, 41, 0x4, None, 1024)
    assert meter.energy_mj() is None


def test_a_gpu_or_driver_that_is_not_there_is_absent_with_the_reason() -> None:
    other = ReadingNvml("GPU-2", **WHOLE)
    for nvml, why in ((other, "error 6"), (ReadingNvml(starts=False), "error 12")):
        meter = GpuMeter("GPU-1", nvml)
        assert meter.absent == f"the NVIDIA driver does not show GPU-1: {why}"
        assert meter.read() is None
        assert meter.energy_mj() is None
        assert nvml.open == 0


def test_only_what_protects_the_gpu_counts_as_throttling() -> None:
    assert THROTTLING_BITS == 0x8 | 0x20 | 0x40 | 0x80
    assert not CLOCK_EVENTS[0x4].throttles


def test_reasons_are_named_and_unknown_ones_shown_by_number() -> None:
    assert event_names(0) == []
    assert event_names(0x1 | 0x4) == ["idle", "at its power limit"]
    assert event_names(0x40 | 0x10000) == [
        "too hot (slowed by the hardware)",
        "unknown reason 0x10000",
    ]
