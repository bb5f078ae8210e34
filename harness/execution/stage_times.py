"""The parts of a query one by one, asked of a worker once its rounds are over."""

from __future__ import annotations

import statistics
from typing import Any

from harness.errors import ExecutionError
from harness.execution.turns import Member

_SECONDS = 0.5
_LEAST = 3
_MOST = 50


def stage_times(member: Member, timeout_s: float) -> dict[str, Any]:
    """Times of the stages of a query: medians and samples in nanoseconds.

    Looking into a query costs time, so this is apart from the rounds, and its sum is no latency.

    Returns:
        `stages`, by name `median_ns` and `samples_ns`; `absent`, why a stage cannot be told; and
        `failed`, where the worker could not do it at all.
    """
    iterations = max(_LEAST, min(_MOST, round(_SECONDS * 1e9 / member.typical_ns)))
    try:
        reply = member.worker.command(
            {"command": "stages", "iterations": iterations}, timeout_s, lambda _: None
        )
    except ExecutionError as error:
        return {"stages": {}, "absent": {}, "failed": str(error)}
    return {
        "stages": {
            name: {"median_ns": statistics.median(samples), "samples_ns": list(samples)}
            for name, samples in reply["stages"].items()
            if samples
        },
        "absent": dict(reply["absent"]),
    }
