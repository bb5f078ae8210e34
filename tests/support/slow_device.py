"""A device that is made up and works on by itself: what it was given is done when it is waited for."""

from __future__ import annotations

from typing import ClassVar


class SlowDevice:
    """A device with one stream, and the clock of who waits for it; all times in nanoseconds."""

    IN, WORK, OUT = 1_000_000, 5_000_000, 2_000_000
    STAGES: ClassVar[dict[str, int]] = {
        "host_to_device": IN,
        "compute": WORK,
        "device_to_host": OUT,
    }

    def __init__(self) -> None:
        self.now = 0
        self.queued = 0

    def __call__(self) -> int:
        """What stands in for `time.perf_counter_ns`."""
        return self.now

    def queue(self, duration: int) -> None:
        """Give it work that lasts so long."""
        self.queued += duration

    def wait(self) -> None:
        """Wait until all that it was given is done."""
        self.now += self.queued
        self.queued = 0

    def copy_out(self) -> None:
        """Fetch a result, which waits for it."""
        self.queue(self.OUT)
        self.wait()


class Event:
    """An event of a stream: it has its time once it was waited for."""

    def __init__(self, device: SlowDevice) -> None:
        self.device = device
        self.passed = -1

    def record(self) -> None:
        self.passed = self.device.now + self.device.queued

    def elapsed_ms(self, end: Event) -> float:
        assert self.device.queued == 0, "the device was not waited for"
        assert self.passed >= 0, "it was never recorded"
        return (end.passed - self.passed) / 1e6
