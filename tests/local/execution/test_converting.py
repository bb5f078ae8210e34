"""Conversions by a real conductor, with converters that go wrong in every way there is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support.planted_converters import plant

from harness.execution.documents import (
    CellTask,
    CheckTask,
    ConversionTask,
    GroupDocument,
    TrialTask,
)
from harness.execution.executors.local import LocalExecutor
from harness.paths import runner_tree

COUNT = 6
PYTHON = Path(sys.executable)


def inputs(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "x.npy"
    if not path.exists():
        np.save(path, np.random.default_rng(0).random((COUNT, 8), dtype=np.float32))
    return {"kind": "array", "path": str(path), "count": COUNT, "normalise": None, "layout": None}


def infer(tmp_path: Path, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": "infer",
        "backend": "null",
        "model": {"format": "json", **model},
        "inputs": inputs(tmp_path),
    }


def chain(
    tmp_path: Path, *converters: str, tolerance: float = 0.01, quantised_tolerance: float = 0.5
) -> list[ConversionTask]:
    """Conversions one after the other, beginning with a model of five classes."""
    first = tmp_path / "first.json"
    first.write_text(json.dumps({"classes": 5}))
    trial = TrialTask(
        key="null",
        label="null here",
        python=PYTHON,
        job={**infer(tmp_path, {}), "max_output_bytes": 1 << 20},
    )
    tasks: list[ConversionTask] = []
    for number, name in enumerate(converters, 1):
        tasks.append(
            ConversionTask(
                key=f"step{number}",
                label=f"step {number}, json>json:{name} here",
                python=PYTHON,
                job={
                    "schema_version": 1,
                    "kind": "convert",
                    "converter": f"json>json:{name}",
                    "source": {"path": "model.json" if tasks else str(first), "format": "json"},
                    "target": "model.json",
                    "options": {},
                },
                source=tasks[-1].key if tasks else None,
                check=CheckTask(
                    target=trial,
                    source=trial,
                    tolerance=tolerance,
                    tolerance_name="conversions.tolerance",
                    quantised_tolerance=quantised_tolerance,
                ),
            )
        )
    return tasks


def cell(tmp_path: Path, conversion: str) -> CellTask:
    return CellTask(
        key="cell",
        label="cell",
        python=PYTHON,
        answers=True,
        conversion=conversion,
        job=infer(tmp_path, {"path": "model.json"}),
    )


def run(
    tmp_path: Path,
    tasks: list[ConversionTask],
    *cells: CellTask,
    timeout_s: float = 60,
    memory_mib: int = 4096,
) -> list[Mapping[str, Any]]:
    document = GroupDocument(
        runner=plant(tmp_path / "planted", runner_tree()[0]),
        results=tmp_path / "results",
        timeout_s=60,
        conversion_timeout_s=timeout_s,
        conversion_memory_mib=memory_mib,
        conversions=tuple(tasks),
        cells=cells,
    )
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


def test_a_chain_is_made_step_by_step_and_its_result_run(tmp_path: Path) -> None:
    tasks = chain(tmp_path, "copied", "copied")
    events = run(tmp_path, tasks, cell(tmp_path, "step2"))
    made = of_kind(events, "converted")
    assert list(made) == ["step1", "step2"]
    check = made["step2"]["check"]
    assert (check["images"], check["max_abs_diff"], check["share"]) == (COUNT, 0.0, 0.0)
    assert set(of_kind(events, "answered")) == {"cell"}
    for worker in (e for e in events if e["event"] == "worker"):
        assert not psutil.pid_exists(worker["pid"])


def test_a_fault_in_the_middle_of_a_chain_is_named_and_the_rest_not_tried(tmp_path: Path) -> None:
    tasks = chain(tmp_path, "copied", "otherwise", "copied")
    events = run(tmp_path, tasks, cell(tmp_path, "step3"))
    assert set(of_kind(events, "converted")) == {"step1"}
    assert set(of_kind(events, "converting")) == {"step1", "step2"}
    failed = of_kind(events, "failed")["cell"]
    assert failed["kind"] == "disagreement"
    assert failed["message"].startswith(
        "step 2, json>json:otherwise here: What it made answers otherwise than its source: the "
        f"largest difference over {COUNT} images is "
    )
    assert "1 % is allowed (null here against null here)" in failed["message"]
    assert failed["limits"]["conversions.tolerance"] == 0.01


def test_a_tolerance_lets_it_through_to_be_measured(tmp_path: Path) -> None:
    tasks = chain(tmp_path, "otherwise", tolerance=10)
    events = run(tmp_path, tasks, cell(tmp_path, "step1"))
    check = of_kind(events, "converted")["step1"]["check"]
    assert 0.01 < check["share"] < 10
    assert set(of_kind(events, "answered")) == {"cell"}


def test_integers_that_only_a_run_shows_are_held_to_their_own_limit(tmp_path: Path) -> None:
    events = run(tmp_path, chain(tmp_path, "rounded"))
    check = of_kind(events, "converted")["step1"]["check"]
    assert 0.01 < check["share"] < 0.5
    assert (check["tolerance"], check["tolerance_name"]) == (0.5, "conversions.quantised_tolerance")


def test_the_limit_that_bound_is_the_one_that_is_named(tmp_path: Path) -> None:
    events = run(tmp_path, chain(tmp_path, "rounded", quantised_tolerance=0.001))
    told = of_kind(events, "not-converted")["step1"]
    assert told["kind"] == "disagreement"
    assert "allow more with `conversions.quantised_tolerance`" in told["message"]
    tolerances = {name: one for name, one in told["limits"].items() if "tolerance" in name}
    assert tolerances == {"conversions.quantised_tolerance": 0.001}


def test_a_checker_that_is_not_there_costs_no_conversion(tmp_path: Path) -> None:
    [task] = chain(tmp_path, "otherwise")
    assert task.check is not None
    gone = task.check.target.model_copy(update={"python": tmp_path / "gone", "label": "gone"})
    gone = gone.model_copy(update={"key": "gone"})
    check = task.check.model_copy(update={"target": gone})
    events = run(tmp_path, [task.model_copy(update={"check": check})], cell(tmp_path, "step1"))
    found = of_kind(events, "converted")["step1"]["check"]
    assert (found["images"], found["share"], found["target"]) == (0, None, "")
    assert found["note"].startswith("gone, which was to run it, cannot be used: Cannot start")
    assert set(of_kind(events, "answered")) == {"cell"}


def test_transpositions_that_do_not_fit_are_told_and_other_routes_go_on(tmp_path: Path) -> None:
    tasks = chain(tmp_path, "two_axes", "three_axes")
    good = chain(tmp_path, "copied")[0].model_copy(update={"key": "good"})
    events = run(tmp_path, [*tasks, good], cell(tmp_path, "good"))
    told = of_kind(events, "not-converted")
    assert list(told) == ["step2"]
    assert told["step2"]["kind"] == "conversion"
    assert told["step2"]["message"].startswith(
        "step 2, json>json:three_axes here: The converter reports [0, 2, 1] as `input_axes`, which "
        "does not fit its source's, [0, 1]."
    )
    assert set(of_kind(events, "answered")) == {"cell"}


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("silent_nan", "conversion", "Output 0 is NaN for image 0: the conversion succeeded"),
        ("unreadable", "conversion", "What it made cannot be run by null here, which checks"),
        ("without_files", "conversion", "The converter reports {} as `files`, which is not"),
        ("wrong_axes", "conversion", "The converter reports [1, 0] as `input_axes`, which is not"),
        ("fewer_classes", "conversion", "Output 0 has the shape [3], and its source's [5]."),
        ("crashing", "signal", "It was ended by SIGSEGV."),
        ("rubbish", "conversion", ""),
        ("refusing", "unsupported", "no counterpart of the operator Foo; export it without"),
    ],
)
def test_a_converter_that_goes_wrong_is_a_failure_that_says_how(
    tmp_path: Path, name: str, kind: str, said: str
) -> None:
    events = run(tmp_path, chain(tmp_path, name), cell(tmp_path, "step1"))
    failed = of_kind(events, "failed")["cell"]
    assert failed["kind"] == kind
    assert f"step 1, json>json:{name} here: {said}" in failed["message"]
    assert failed["log"] is not None
    assert of_kind(events, "not-converted")["step1"]["message"] == failed["message"]


def test_a_hanging_converter_is_ended_and_other_routes_go_on(tmp_path: Path) -> None:
    bad, good = chain(tmp_path, "hanging")[0], chain(tmp_path, "copied")[0]
    good = good.model_copy(update={"key": "good"})
    started = time.monotonic()
    events = run(tmp_path, [bad, good], cell(tmp_path, "good"), timeout_s=5)
    assert time.monotonic() - started < 60
    told = of_kind(events, "not-converted")["step1"]
    assert told["kind"] == "timeout"
    assert "No answer after 5 s; it was stopped." in told["message"]
    assert "Allow more with `conversions.timeout_seconds`" in told["message"]
    assert set(of_kind(events, "answered")) == {"cell"}


def test_a_result_that_hangs_is_told_with_who_ran_it(tmp_path: Path) -> None:
    events = run(tmp_path, chain(tmp_path, "hanging_model"), timeout_s=5)
    told = of_kind(events, "not-converted")["step1"]
    assert told["kind"] == "timeout"
    said = "What it made cannot be run by null here, which checks it: No answer after 5 s"
    assert said in told["message"]
    assert "Allow more with `conversions.timeout_seconds`" in told["message"]


def test_a_converter_that_takes_all_memory_is_ended(tmp_path: Path) -> None:
    events = run(tmp_path, chain(tmp_path, "greedy"), memory_mib=300)
    told = of_kind(events, "not-converted")["step1"]
    assert told["kind"] == "out-of-memory"
    assert "it used more than the 300 MiB that it may" in told["message"]
    assert "Allow more with `conversions.memory_mib` in the sweep file" in told["message"]
