"""Compiling in real worker processes: proof of effect, costs, caches, variables, and its failures."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.execution.documents import CellTask, GroupDocument
from harness.execution.executors.local import LocalExecutor
from harness.paths import runner_tree

COUNT = 3


def task(
    tmp_path: Path, key: str, *, job: Mapping[str, Any] | None = None, **model: Any
) -> CellTask:
    """A cell of the backend `null`, whose model says how it compiles."""
    inputs, path = tmp_path / "x.npy", tmp_path / f"{key}.json"
    np.save(inputs, np.random.default_rng(0).random((COUNT, 8), dtype=np.float32))
    path.write_text(json.dumps({"classes": 5, **model}))
    return CellTask(
        key=key,
        label=key,
        python=Path(sys.executable),
        answers=True,
        cache=tmp_path / "caches" / key,
        job={
            "schema_version": 1,
            "kind": "infer",
            "backend": "null",
            "model": {"path": str(path), "format": "json"},
            "inputs": {"kind": "array", "path": str(inputs), "count": COUNT},
            **(job or {}),
        },
    )


def run(tmp_path: Path, *tasks: CellTask, **limits: Any) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The events of a group, by kind and by the cell's key."""
    number = len(list(tmp_path.glob("results*")))
    document = GroupDocument(
        runner=runner_tree()[0],
        results=tmp_path / f"results-{number}",
        cells=tasks,
        **{"timeout_s": 60, **limits},
    )
    executor = LocalExecutor()
    name = executor.submit(document)
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    while (poll := executor.poll(name, 1)).running:
        for event in poll.events:
            if "key" in event:
                found.setdefault(str(event["event"]), {})[str(event["key"])] = event
    assert poll.exit_status == 0, (executor.fetch(name) / "conductor.log").read_text()
    return found


def test_a_compile_that_never_ends_is_bounded_and_the_next_cell_answers(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        task(tmp_path, "endless", compiling={"fault": "hang"}),
        task(tmp_path, "next"),
        compile_timeout_s=12,
    )
    failed = found["failed"]["endless"]
    assert failed["kind"] == "timeout"
    assert "not loaded and compiled after 12 s" in failed["message"]
    assert failed["limits"] == {"compile_seconds": 12}
    assert set(found["answered"]) == {"next"}


def test_a_compiler_that_crashes_is_recorded_by_its_signal_and_the_next_cell_answers(
    tmp_path: Path,
) -> None:
    found = run(
        tmp_path,
        task(tmp_path, "crashing", compiling={"fault": "crash"}),
        task(tmp_path, "next"),
    )
    failed = found["failed"]["crashing"]
    assert (failed["kind"], failed["signal"]) == ("signal", 11)
    assert set(found["answered"]) == {"next"}


def test_without_a_limit_of_its_own_compiling_has_that_of_the_answers(tmp_path: Path) -> None:
    found = run(tmp_path, task(tmp_path, "endless", compiling={"fault": "hang"}), timeout_s=2)
    assert found["failed"]["endless"]["limits"] == {"compile_seconds": 2}


def test_a_fingerprint_is_the_same_in_two_processes_and_another_for_other_settings(
    tmp_path: Path,
) -> None:
    def proved(name: str, **job: Any) -> CellTask:
        return task(tmp_path, name, job={"fingerprint": True, **job})

    found = run(
        tmp_path,
        proved("one"),
        proved("same"),
        proved("inert", settings={"offset": 0}),
        proved("other", settings={"offset": 1}),
        task(tmp_path, "unasked"),
    )
    told = {key: event["loaded"].get("compiled") for key, event in found["answered"].items()}
    assert told["one"] == told["same"] == told["inert"]
    assert told["one"]["operators"] == {"linear": 1}
    assert told["other"]["operators"] == {"add": 1, "linear": 1}
    assert told["other"]["sha256"] != told["one"]["sha256"]
    assert told["unasked"] is None


def test_a_cell_that_was_answered_before_says_it_without_answering_again(tmp_path: Path) -> None:
    again = task(tmp_path, "again", job={"fingerprint": True}).model_copy(update={"answers": False})
    found = run(tmp_path, again)
    assert found["proved"]["again"]["compiled"]["form"] == "null"
    assert "answered" not in found


def test_what_a_library_keeps_is_cold_at_first_and_warm_when_opened_again(tmp_path: Path) -> None:
    keeping = task(tmp_path, "keeping", compiling={"keeps": True})
    plain = task(tmp_path, "plain")
    states = []
    for _ in range(2):
        answered = run(tmp_path, keeping, plain)["answered"]
        states.append([answered[key]["loaded"]["compile_cache"] for key in ("keeping", "plain")])
    assert states == [["cold", "none"], ["warm", "none"]]
    assert [p.name for p in (tmp_path / "caches" / "keeping").rglob("kept")] == ["kept"]


def test_another_batch_has_a_cache_of_its_own(tmp_path: Path) -> None:
    for batch in (1, 2):
        keeping = task(tmp_path, "keeping", job={"batch": batch}, compiling={"keeps": True})
        [event] = run(tmp_path, keeping)["answered"].values()
        assert event["loaded"]["compile_cache"] == "cold"


def test_memory_that_only_compiling_took_is_in_its_peak(tmp_path: Path) -> None:
    answered = run(
        tmp_path,
        task(tmp_path, "small"),
        task(tmp_path, "large", compiling={"mib": 192}),
    )["answered"]
    small, large = (answered[k]["loaded"]["compile_peak_mib"] for k in ("small", "large"))
    if small is None:
        pytest.skip("this kernel lets no process set its mark back")
    assert 150 < large - small < 400


def test_variables_reach_the_process_and_are_told(tmp_path: Path) -> None:
    variables = {"HARNESS_SAID": "it's; $HOME", "OTHER": ""}
    given = task(tmp_path, "given", job={"settings": {"variables": variables}})
    loaded = run(tmp_path, given)["answered"]["given"]["loaded"]
    assert loaded["ran"]["settings"] == {"offset": 0, "variables": variables}


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"LD_PRELOAD": "/x.so"}, "LD_PRELOAD says where a worker finds its parts"),
        ({"OMP_NUM_THREADS": "8"}, "OMP_NUM_THREADS was to be '8' and is '1'"),
    ],
)
def test_a_variable_that_cannot_be_had_fails_its_cell_alone(
    tmp_path: Path, variables: dict[str, str], why: str
) -> None:
    bad = task(tmp_path, "bad", job={"settings": {"variables": variables}})
    found = run(tmp_path, bad, task(tmp_path, "next"))
    assert found["failed"]["bad"]["kind"] == "unsupported"
    assert why in found["failed"]["bad"]["message"]
    assert set(found["answered"]) == {"next"}
