"""How a sweep file's timing becomes what a conductor is told."""

from __future__ import annotations

from typing import Any

import pytest

from harness.execution.assemble import session_task
from harness.spec.timing import Timing

TIMING = Timing(round_seconds=0.5, min_seconds=3, warmup_seconds=0.1, offline_batches=(4, 1))


def test_seconds_become_nanoseconds() -> None:
    told = session_task(TIMING, "single_stream", "r", None)
    assert (told.round_ns, told.min_ns, told.warmup_ns) == (500_000_000, 3_000_000_000, 100_000_000)
    assert (told.reference, told.control) == ("r", None)
    assert (told.floor, told.control_bound, told.min_queries) == (0.01, 0.05, 100)


@pytest.mark.parametrize(
    ("scenario", "batches", "expected"),
    [
        ("offline", (4, 1), (1, 4)),
        ("offline", "auto", None),
        ("single_stream", (4, 1), None),
        (None, (4, 1), None),
    ],
)
def test_only_offline_has_batches_to_try(scenario: str | None, batches: Any, expected: Any) -> None:
    told = session_task(Timing(offline_batches=batches), scenario, "r", "c")
    assert told.offline_batches == expected
    assert told.scenario == (scenario or "single_stream")
