"""A query taken apart: what is timed, in which order, and why a part is absent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.slow_device import SlowDevice

from runner import stages
from runner.errors import RunnerError

BATCH = np.ones((1, 2), np.float32)


class Whole:
    """A backend whose call is one piece, which lasts as long as all its parts."""

    def __init__(self, clock: SlowDevice) -> None:
        self.clock, self.runs = clock, 0

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        self.runs += 1
        self.clock.now += 8_000_000
        return [batch * 2]


class Apart(Whole):
    """One that tells its parts, or says why not."""

    def __init__(self, clock: SlowDevice, fails: RunnerError | None = None) -> None:
        super().__init__(clock)
        self.fails = fails

    def run_in_stages(self, batch: np.ndarray) -> tuple[list[np.ndarray], dict[str, int]]:
        if self.fails is not None:
            raise self.fails
        return self.run(batch), dict(SlowDevice.STAGES)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SlowDevice:
    clock = SlowDevice()
    monkeypatch.setattr("time.perf_counter_ns", clock)
    return clock


def taken_apart(backend: Any, device: str, clock: SlowDevice, iterations: int = 3) -> Any:
    """Stages and what is absent; making an input lasts 3 ms, and 4 ms what comes after."""
    prepared: list[int] = []
    finished: list[float] = []

    def prepare(index: int) -> np.ndarray:
        prepared.append(index)
        clock.now += 3_000_000
        return BATCH

    def finish(outputs: list[np.ndarray]) -> None:
        finished.append(float(outputs[0].sum()))
        clock.now += 4_000_000

    way, absent = stages.way_to(backend, "toy", device, BATCH)
    found = stages.take_apart(prepare, way, finish, iterations)
    assert prepared == list(range(iterations + 1))
    assert finished == [4.0] * (iterations + 1)
    return found, absent


def test_a_backend_that_tells_its_parts_has_all_five_in_the_order_of_a_query(
    clock: SlowDevice,
) -> None:
    found, absent = taken_apart(Apart(clock), "cuda", clock)
    assert list(found) == list(stages.ORDER)
    assert found == {
        "preprocess": [3_000_000] * 3,
        "host_to_device": [1_000_000] * 3,
        "compute": [5_000_000] * 3,
        "device_to_host": [2_000_000] * 3,
        "postprocess": [4_000_000] * 3,
    }
    assert absent == {}


@pytest.mark.parametrize(
    ("backend", "device", "words"),
    [
        (Apart, "cpu", "runs on the CPU"),
        (Whole, "cuda", "toy copies and computes inside one call"),
        (
            lambda clock: Apart(clock, RunnerError("unsupported", "version 1 can't wait")),
            "cuda",
            "version 1 can't wait; compute is the whole call",
        ),
    ],
)
def test_where_parts_can_not_be_told_compute_is_the_whole_call_and_the_reason_is_given(
    clock: SlowDevice, backend: Any, device: str, words: str
) -> None:
    found, absent = taken_apart(backend(clock), device, clock, iterations=2)
    assert found == {
        "preprocess": [3_000_000] * 2,
        "compute": [8_000_000] * 2,
        "postprocess": [4_000_000] * 2,
    }
    assert set(absent) == {"host_to_device", "device_to_host"}
    assert all(words in why for why in absent.values())


def test_another_failure_than_not_being_able_to_is_no_reason(clock: SlowDevice) -> None:
    backend = Apart(clock, RunnerError("backend", "the GPU fell off"))
    with pytest.raises(RunnerError, match="fell off"):
        stages.way_to(backend, "toy", "cuda", BATCH)
