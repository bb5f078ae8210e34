"""What the harness adds to every query: a backend that does nothing, timed as any other is.

    python -m benchmarks.null_query [--json]

The backend `null` with `work: nothing` answers each call with what it made before, so what remains
is the harness's own: the call itself, two readings of the clock, the loop around them. The goal is
2 µs or less for the median of the recorded times. Three numbers are shown for a query:

* recorded: the median of the durations that the runner tells;
* computing: the processor time that the runner used for a round, a query;
* in all: from sending the command until the reply is read, a query. Telling a million durations is
  part of it.

Beside it, in the same interpreter and on the same core, a loop (`loops/empty_call.py`) calls a
Python function that does nothing: with a clock around each call, and without. The environment is
this program's own Python, since the runner needs NumPy and nothing else for it. Both processes are
started anew for each round, and take turns in balanced order.

The result is the recorded time against that of the empty call: 1 means that the runner's clock
holds a Python call and nothing else. For it, a round's time is the mean of the middle half of its
durations: a clock that ticks every ten nanoseconds gives medians that are the same in every round,
and an interval of no width. It is the geometric mean over rounds, with a t interval.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _common
from benchmarks._common import Loop, Runner
from harness.execution.cores import cores_for, keep_off, own_cores
from harness.execution.rounds import balanced_order
from harness.trees import temporary_folder

ROUNDS = 16
ITERATIONS = 200_000
_MIDDLE = ", middle half"

Measured = dict[str, float]


def middle(durations_ns: Sequence[int]) -> float:
    """The mean of the middle half."""
    ordered = sorted(durations_ns)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def of_runner(reply: Mapping[str, Any], queries: int, wall_ns: int) -> Measured:
    """Nanoseconds a query: `queries` is what was run, the unrecorded ones too."""
    return {
        "recorded": statistics.median(reply["durations_ns"]),
        f"recorded{_MIDDLE}": middle(reply["durations_ns"]),
        "computing": reply["cpu_ns"] / queries,
        "in all": wall_ns / queries,
    }


def of_loop(reply: Mapping[str, Any]) -> Measured:
    """Nanoseconds a call of the empty function."""
    return {
        "empty call": statistics.median(reply["durations_ns"]),
        f"empty call{_MIDDLE}": middle(reply["durations_ns"]),
        "empty call, unclocked": reply["loop_ns"] / len(reply["durations_ns"]),
    }


def take_round(order: Sequence[int], iterations: int, folder: Path, sockets: Path) -> Measured:
    """Start both, and give each a turn."""
    cores = cores_for(1).cells or own_cores()
    python, warmup = Path(sys.executable), iterations // 5
    found: Measured = {}
    with contextlib.ExitStack() as held:
        runner = held.enter_context(Runner(python, _job(folder), folder / "r", sockets, cores))
        runner.loaded()
        loop = held.enter_context(Loop(python, "empty_call.py", {}, folder / "l", cores))
        loop.loaded()
        for index in order:
            if index == 0:
                started = time.perf_counter_ns()
                reply = runner.times(iterations, warmup)
                wall_ns = time.perf_counter_ns() - started
                found |= of_runner(reply, iterations + warmup, wall_ns)
            else:
                found |= of_loop(loop.times(iterations, warmup))
    return found


def _job(folder: Path) -> dict[str, Any]:
    model, inputs = folder / "model.json", folder / "inputs.npy"
    model.write_text(json.dumps({"work": "nothing"}), encoding="utf-8")
    np.save(inputs, np.zeros((64, 64), np.float32))
    return {
        "schema_version": 1,
        "kind": "infer",
        "backend": "null",
        "model": {"path": str(model), "format": "json"},
        "inputs": {"kind": "array", "path": str(inputs), "count": 64},
    }


def main() -> None:
    """Measure and print."""
    report = _common.begin("null_query", __doc__)
    rounds, iterations = (2, 2_000) if _common.quick() else (ROUNDS, ITERATIONS)
    taken: list[Measured] = []
    with temporary_folder("harness-") as sockets, keep_off(cores_for(1).taken):
        for order in balanced_order(2, rounds):
            with tempfile.TemporaryDirectory() as folder:
                taken.append(take_round(order, iterations, Path(folder), sockets))
    for what in taken[0]:
        values = [one[what] for one in taken]
        report.say(
            f"{what}: {statistics.median(values) / 1e3:.3f} µs "
            f"(rounds {min(values) / 1e3:.3f} to {max(values) / 1e3:.3f})"
        )
    logs = [math.log(one[f"recorded{_MIDDLE}"] / one[f"empty call{_MIDDLE}"]) for one in taken]
    unit = "recorded time of a query that does nothing / of an empty Python call"
    report.end(_common.estimate(logs), unit)


if __name__ == "__main__":
    main()
