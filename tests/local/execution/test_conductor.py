"""The conductor with real processes: answers, rounds, and every way a worker may fail.

The runner's `null` backend needs only NumPy, so the interpreter of the tests serves as the
environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.errors import ExecutionError
from harness.execution.converting import check_plain
from harness.execution.documents import CellTask, GroupDocument, SessionTask
from harness.execution.executors.local import LocalExecutor
from harness.paths import runner_tree

COUNT = 6


def task(tmp_path: Path, key: str, **model: Any) -> CellTask:
    inputs = tmp_path / "x.npy"
    np.save(inputs, np.random.default_rng(0).random((COUNT, 8), dtype=np.float32))
    path = tmp_path / f"{key}.json"
    path.write_text(json.dumps({"classes": 5, **model}))
    return CellTask(
        key=key,
        label=key,
        python=Path(sys.executable),
        answers=True,
        job={
            "schema_version": 1,
            "kind": "infer",
            "backend": "null",
            "model": {"path": str(path), "format": "json"},
            "inputs": {
                "kind": "array",
                "path": str(inputs),
                "count": COUNT,
                "normalise": None,
                "layout": None,
            },
        },
    )


def group(
    tmp_path: Path, *tasks: CellTask, timeout_s: float = 60, timed: bool = False, **timing: Any
) -> GroupDocument:
    session = SessionTask(
        reference=tasks[0].key,
        **{"rounds": 4, "round_ns": 2_000_000, "warmup_ns": 20_000_000, **timing},
    )
    return GroupDocument(
        runner=runner_tree()[0],
        results=tmp_path / "results",
        timeout_s=timeout_s,
        cells=tasks,
        session=session if timed else None,
    )


def run(document: GroupDocument) -> list[Mapping[str, Any]]:
    executor = LocalExecutor()
    name = executor.submit(document)
    events: list[Mapping[str, Any]] = []
    while (poll := executor.poll(name, 1)).running:
        events.extend(poll.events)
    log = (executor.fetch(name) / "conductor.log").read_text()
    assert poll.exit_status == 0, log
    return events


def of_kind(events: list[Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    return {str(e["key"]): e for e in events if e["event"] == kind}


def test_answers_come_back_as_plain_arrays_and_workers_are_gone(tmp_path: Path) -> None:
    events = run(group(tmp_path, task(tmp_path, "a"), task(tmp_path, "b", seed=1)))
    answered = of_kind(events, "answered")
    assert set(answered) == {"a", "b"}
    folder = Path(answered["a"]["folder"])
    array = np.load(folder / answered["a"]["reply"]["outputs"][0]["file"])
    assert array.shape == (COUNT, 5)
    for worker in of_kind(events, "worker").values():
        assert not psutil.pid_exists(worker["pid"])


def test_a_session_times_every_member_in_every_round(tmp_path: Path) -> None:
    slow = task(tmp_path, "slow", latency_ns=400_000)
    events = run(group(tmp_path, task(tmp_path, "a", latency_ns=100_000), slow, timed=True))
    assert [e["done"] for e in events if e["event"] == "round"] == [1, 2, 3, 4]
    folder = tmp_path / "results" / "session-1"
    document = json.loads((folder / "session.json").read_text())
    assert document["order"][:2] == [["a", "slow"], ["slow", "a"]]
    rows = np.load(folder / "timings.npy")
    assert set(rows[:, 0]) == {0, 1}
    assert {tuple(pair) for pair in rows[:, :2]} == {(m, r) for m in (0, 1) for r in range(4)}
    assert rows[rows[:, 0] == 1, 3].min() >= 400_000
    turns = document["turns"]
    assert [turn["key"] for turn in turns[:4]] == ["a", "slow", "slow", "a"]
    assert all(one["end_ns"] <= two["start_ns"] for one, two in pairwise(turns))
    assert all(0 < turn["cpu_ns"] <= turn["end_ns"] - turn["start_ns"] for turn in turns)
    assert document["batch"] == {"a": 1, "slow": 1}
    assert (folder / "samples.jsonl").read_text().count("\n") >= 2


def test_with_fresh_processes_no_process_is_timed_twice_and_none_is_left(tmp_path: Path) -> None:
    tasks = [task(tmp_path, "a", latency_ns=100_000), task(tmp_path, "b", latency_ns=400_000)]
    events = run(group(tmp_path, *tasks, timed=True, fresh_processes=True, rounds=3))
    processes = [e for e in events if e["event"] == "worker"]
    assert [e["key"] for e in processes] == ["a", "b", *"ab", *"ba", *"ba"]
    assert len({e["pid"] for e in processes}) == len(processes)
    assert not any(psutil.pid_exists(e["pid"]) for e in processes)
    document = json.loads((tmp_path / "results" / "session-1" / "session.json").read_text())
    for key in "ab":
        starts = document["starts"][key]
        assert [one["round"] for one in starts] == [0, 1, 2]
        assert all(one["start_ns"] > one["load_ns"] + one["first_inference_ns"] for one in starts)
    (timed,) = (e for e in events if e["event"] == "timed")
    assert set(timed["outputs"]) == {"a", "b"}
    # A turn holds nothing of the starts: those of a round fit whole between it and the one before.
    ended = 0
    for number in range(3):
        starts = [one[number] for one in document["starts"].values()]
        turns = [turn for turn in document["turns"] if turn["round"] == number]
        between = min(turn["start_ns"] for turn in turns) - ended
        assert sum(one["start_ns"] + one["warmup_ns"] for one in starts) <= between
        ended = max(turn["end_ns"] for turn in turns)


def test_rounds_are_lengthened_until_there_are_enough_queries_and_enough_time(
    tmp_path: Path,
) -> None:
    quick = task(tmp_path, "quick", latency_ns=100_000)
    slow = task(tmp_path, "slow", latency_ns=4_000_000)
    run(group(tmp_path, quick, slow, timed=True, min_queries=40, min_ns=100_000_000))
    rows = np.load(tmp_path / "results" / "session-1" / "timings.npy")
    assert rows[rows[:, 0] == 0, 3].sum() >= 80_000_000
    assert (rows[:, 0] == 1).sum() == 40


def test_what_was_computed_while_timing_and_the_stages_of_a_query_are_brought_along(
    tmp_path: Path,
) -> None:
    events = run(group(tmp_path, task(tmp_path, "a"), timed=True))
    [timed] = [e for e in events if e["event"] == "timed"]
    told = timed["outputs"]["a"]
    answers = np.load(tmp_path / "results" / "cells" / "a" / "output_0.npy")
    array = np.load(Path(told["folder"]) / told["outputs"][0]["file"])
    first = told["first_row"]
    assert np.array_equal(array, answers[first : first + told["rows"]])
    document = json.loads((tmp_path / "results" / "session-1" / "session.json").read_text())
    found = document["stages"]["a"]
    assert set(found["stages"]) == {"preprocess", "compute", "postprocess"}
    compute = found["stages"]["compute"]
    assert compute["median_ns"] == np.median(compute["samples_ns"])
    assert set(found["absent"]) == {"host_to_device", "device_to_host"}
    assert document["energy"]["a"].keys() & {"absent", "joules_per_query"}


def test_offline_each_cell_is_timed_at_the_batch_that_gives_most(tmp_path: Path) -> None:
    """A call of the null backend takes as long for one input as for many: larger is better."""
    steady = task(tmp_path, "steady", latency_ns=1_000_000)
    fixed = task(
        tmp_path, "fixed", input={"name": "x", "dtype": "float32", "shape": [1, 8]},
    )  # fmt: skip
    again = task(tmp_path, "again", latency_ns=1_000_000)
    wanted = group(
        tmp_path, steady, again, fixed, timed=True,
        scenario="offline", control="again", offline_batches=(1, 2, 4),
    )  # fmt: skip
    events = run(wanted)
    assert set(of_kind(events, "answered")) == {"steady", "again", "fixed"}
    document = json.loads((tmp_path / "results" / "session-1" / "session.json").read_text())
    assert document["scenario"] == "offline"
    assert document["batch"] == {"steady": 4, "again": 4, "fixed": 1}
    search = document["offline_search"]
    assert [one["batch"] for one in search["steady"]] == [1, 2, 4]
    assert search["steady"][2]["per_second"] > 2 * search["steady"][0]["per_second"]
    assert "fixed batch of 1" in search["fixed"][1]["refused"]
    assert "again" not in search
    assert not (tmp_path / "results" / "batches" / "steady" / "4").exists()


def test_a_cell_that_runs_at_no_batch_is_told_and_the_others_are_timed(tmp_path: Path) -> None:
    fixed = task(
        tmp_path, "fixed", input={"name": "x", "dtype": "float32", "shape": [1, 8]},
    )  # fmt: skip
    events = run(
        group(tmp_path, task(tmp_path, "good"), fixed, timed=True,
              scenario="offline", offline_batches=(2,))
    )  # fmt: skip
    [told] = [e for e in events if e["event"] == "not-timed"]
    assert told["keys"] == ["fixed"]
    assert "batch 2" in told["reason"]
    [timed] = [e for e in events if e["event"] == "timed"]
    assert timed["members"] == ["good"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("crash", "signal"),
        ("exit", "no-result"),
        ("memory", "out-of-memory"),
        ("error", "backend"),
        ("shape", "invalid-output"),
        ("load", "model"),
        ("hang", "timeout"),
    ],
)
def test_each_way_to_fail_is_told_apart_and_the_others_go_on(
    tmp_path: Path, fault: str, kind: str
) -> None:
    patience = 3 if fault == "hang" else 60
    bad = task(tmp_path, "bad", fault=fault, fault_after=0 if fault == "load" else 2)
    events = run(group(tmp_path, bad, task(tmp_path, "good"), timeout_s=patience, timed=True))
    failed = of_kind(events, "failed")
    assert set(failed) == {"bad"}
    assert failed["bad"]["kind"] == kind, failed
    assert failed["bad"]["message"]
    assert set(of_kind(events, "answered")) == {"good"}
    assert any(e["event"] == "timed" for e in events)


def test_a_cell_on_another_device_than_its_own_is_neither_answered_nor_timed(
    tmp_path: Path,
) -> None:
    """The null backend runs on the processor and proves no GPU."""
    lost = task(tmp_path, "lost").model_copy(update={"gpu": "GPU-a", "answers": False})
    events = run(group(tmp_path, task(tmp_path, "good"), lost, timed=True))
    assert of_kind(events, "failed")["lost"]["kind"] == "wrong-device"
    document = json.loads((tmp_path / "results" / "session-1" / "session.json").read_text())
    assert [m["key"] for m in document["members"]] == ["good"]


@pytest.mark.parametrize("what", ["link", "folder", "nothing"])
def test_only_plain_files_are_taken_from_a_converter(tmp_path: Path, what: str) -> None:
    made = tmp_path / "model.pt2"
    if what == "link":
        made.symlink_to("/etc/hostname")
    elif what == "folder":
        made.mkdir()
    with pytest.raises(ExecutionError, match=r"no plain file model\.pt2"):
        check_plain(tmp_path, ["model.pt2"])


def test_a_fault_during_the_rounds_leaves_the_member_out_of_the_session(tmp_path: Path) -> None:
    # One run at load, the answers, at most 40 of the warm-up, one while idling is looked at; then
    # four rounds of 25 and 5.
    bad = task(tmp_path, "bad", fault="crash", fault_after=1 + COUNT + 80, latency_ns=500_000)
    wanted = group(tmp_path, task(tmp_path, "good"), bad, timed=True, min_queries=100)
    events = run(wanted)
    assert set(of_kind(events, "answered")) == {"good", "bad"}
    document = json.loads((tmp_path / "results" / "session-1" / "session.json").read_text())
    assert set(document["dropped"]) == {"bad"}
    assert [m["key"] for m in document["members"]] == ["good"]
    assert {"good", "bad"} == set(document["order"][0]) | set(document["dropped"])
    assert {turn["key"] for turn in document["turns"]} == {"good"}
    [timed] = [e for e in events if e["event"] == "timed"]
    assert (timed["members"], set(timed["dropped"])) == (["good"], {"bad"})
    rows = np.load(tmp_path / "results" / "session-1" / "timings.npy")
    assert set(rows[:, 0]) == {0}
    assert set(rows[:, 1]) == {0, 1, 2, 3}


def test_a_killed_parent_takes_conductor_and_workers_along(tmp_path: Path) -> None:
    """What `kill -9` of the orchestrator leaves behind: nothing."""
    hanging = task(tmp_path, "hangs", fault="hang", fault_after=2)
    document = tmp_path / "group.json"
    document.write_text(group(tmp_path, hanging, timeout_s=600).model_dump_json())
    parent = (
        "import sys\n"
        "from pathlib import Path\n"
        "from harness.execution.documents import GroupDocument\n"
        "from harness.execution.executors.local import LocalExecutor\n"
        "executor = LocalExecutor()\n"
        "group = GroupDocument.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "name = executor.submit(group)\n"
        "while True:\n"
        "    for event in executor.poll(name, 1).events:\n"
        "        print(event['event'], event.get('pid', ''), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, str(document)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids: list[int] = []
        for line in process.stdout:
            event, _, pid = line.strip().partition(" ")
            if event == "worker":
                pids.append(int(pid))
            if event == "answering":
                break
        children = [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
        assert set(pids) <= set(children)
        os.kill(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(map(psutil.pid_exists, children)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [pid for pid in children if psutil.pid_exists(pid)] == []
