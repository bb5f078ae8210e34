"""A program beside a timed one on its core, on this machine: seen by its counters, and judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.doctor.machine import usable_cores
from harness.execution.machine_samples import Sampler, snapshot
from harness.execution.validity import judge

CORE = usable_cores()[-1]
ROUNDS, ROUND_S = 15, 0.06

pytestmark = pytest.mark.skipif(
    snapshot([CORE]) is None or not hasattr(os, "sched_setaffinity"),
    reason="this kernel does not show what its cores do",
)

WORKER = """
import os, sys, time
os.sched_setaffinity(0, {%d})
for line in sys.stdin:
    own = time.process_time_ns()
    ends, durations = own + int(line), []
    while time.process_time_ns() < ends:
        started = time.perf_counter_ns()
        sum(range(20_000))
        durations.append(time.perf_counter_ns() - started)
    print(time.process_time_ns() - own, *durations, flush=True)
"""
HOG = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"


@contextmanager
def program(source: str, **pipes: int) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen([sys.executable, "-c", source % CORE], text=True, **pipes)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def session(folder: Path, hogged: range) -> dict[str, Any]:
    """Rounds of one cell, some of them with a hog on its core, judged."""
    rows: list[tuple[int, int]] = []
    turns = []
    path = folder / "samples.jsonl"
    with (
        program(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker,
        Sampler(path, [CORE], interval_s=0.05) as sampler,
    ):
        assert worker.stdin is not None
        assert worker.stdout is not None

        def turn(number: int) -> None:
            before, start = snapshot([CORE]), time.monotonic_ns() - sampler.started_ns
            worker.stdin.write(f"{int(ROUND_S * 1e9)}\n")
            worker.stdin.flush()
            own, *durations = map(int, worker.stdout.readline().split())
            end, after = time.monotonic_ns() - sampler.started_ns, snapshot([CORE])
            assert before is not None
            assert after is not None
            done = after.since(before)
            rows.extend((number, ns) for ns in durations)
            turns.append(
                {
                    "key": "a",
                    "round": number,
                    "start_ns": start,
                    "end_ns": end,
                    "cpu_ns": own,
                    "busy_ns": done.busy_ns,
                    "steal_ns": done.steal_ns,
                }
            )

        turn(0)  # the worker's own start is no part of a round
        rows.clear()
        turns.clear()
        for number in range(ROUNDS):
            if number in hogged:
                with program(HOG):
                    time.sleep(0.1)
                    turn(number)
            else:
                turn(number)
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    document = {"members": [{"key": "a", "position": 0}], "cores": [CORE], "turns": turns}
    rounds, durations = (np.asarray(column, dtype=np.int64) for column in zip(*rows, strict=True))
    judged = judge(document, rounds, np.zeros_like(rounds), durations, samples)
    return {"turns": turns, "samples": samples, **judged}


def foreign(turn: dict[str, Any]) -> float:
    taken = turn["busy_ns"] + turn["steal_ns"] - turn["cpu_ns"]
    return float(taken / (turn["end_ns"] - turn["start_ns"]))


def test_a_hog_for_a_third_of_the_rounds_makes_the_machine_busy(tmp_path: Path) -> None:
    found = session(tmp_path, range(5, 10))
    kinds = [reason["kind"] for reason in found["cells"]["a"]["reasons"]]
    assert "busy-machine" in kinds
    # By halves with the cell; whoever else is on this machine only takes more.
    assert min(foreign(turn) for turn in found["turns"][5:10]) > 0.3
    assert len(found["samples"]) > ROUNDS
    assert all(str(CORE) in sample["busy_ns"] for sample in found["samples"])


def test_what_the_counters_show_is_the_cell_and_its_neighbour_and_no_more(tmp_path: Path) -> None:
    found = session(tmp_path, range(0))
    wall = sum(turn["end_ns"] - turn["start_ns"] for turn in found["turns"])
    busy = sum(turn["busy_ns"] + turn["steal_ns"] for turn in found["turns"])
    own = sum(turn["cpu_ns"] for turn in found["turns"])
    # Counters come in steps of 10 ms, which add up to little over fifteen turns.
    assert 0.9 * own < busy < 1.1 * wall
