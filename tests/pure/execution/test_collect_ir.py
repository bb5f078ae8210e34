"""What becomes of a cell that is opened for what its backend compiles, and does not show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cells import CELL

from harness.execution.bundles import is_whole
from harness.execution.collect import Collector
from harness.execution.documents import CellTask, GroupDocument, SessionTask
from harness.execution.ir_bundles import ir_folder
from harness.progress import SilentProgress
from harness.spec.models import Limits

KEY = CELL.key
FAILED = {
    "event": "failed",
    "key": KEY,
    "kind": "timeout",
    "message": "No answer.",
    "detail": "",
    "exit_status": None,
    "signal": None,
    "log": None,
    "limits": None,
}


class Told(SilentProgress):
    """Keeps what a person is told."""

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


def collector(tmp_path: Path, told: Told, *, answers: bool = False, ir: bool = True) -> Collector:
    return Collector(
        store=tmp_path / "store",
        unanswered=frozenset({KEY} if answers else ()),
        unkept=frozenset({KEY} if ir else ()),
        limits=Limits(),
        cells={KEY: CELL},
        provisioned={},
        inputs={},
        progress=told,
        note_worker=lambda _: None,
    )


def end(collected: Collector, tmp_path: Path, *, timed: bool, answers: bool = False) -> None:
    (tmp_path / "conductor.log").write_text("a last word\n")
    task = CellTask(key=KEY, label="m", python=Path("python"), job={}, answers=answers)
    session = SessionTask(reference=KEY, rounds=1, round_ns=1) if timed else None
    document = GroupDocument(
        runner=tmp_path, results=tmp_path, timeout_s=1.0, cells=(task,), session=session
    )
    collected.ended(document, tmp_path / "conductor.log")


def compiled(tmp_path: Path, *files: str) -> dict[str, Any]:
    (tmp_path / "ir").mkdir(exist_ok=True)
    (tmp_path / "ir" / "graph.txt").write_text("graph")
    return {"event": "compiled", "key": KEY, "folder": str(tmp_path / "ir"), "files": [*files]}


def test_a_cell_opened_for_its_ir_alone_that_fails_is_not_called_untimed(
    tmp_path: Path, told: Told
) -> None:
    collected = collector(tmp_path, told)
    collected.on(FAILED)
    end(collected, tmp_path, timed=False)
    assert told.notes == [f"IR not kept: {CELL.label}: (timeout) No answer."]
    assert collected.problems == {KEY: "IR not kept: (timeout) No answer."}
    assert (collected.failures, collected.kept) == ({}, set())


def test_where_it_was_to_be_timed_too_both_are_told(tmp_path: Path, told: Told) -> None:
    collected = collector(tmp_path, told)
    collected.on(FAILED)
    end(collected, tmp_path, timed=True)
    assert [note.split(":")[0] for note in told.notes] == ["IR not kept", "Not timed"]
    assert collected.problems == {
        KEY: "IR not kept: (timeout) No answer.; not timed: (timeout) No answer."
    }


def test_a_cell_that_is_only_timed_is_told_as_before(tmp_path: Path, told: Told) -> None:
    collected = collector(tmp_path, told, ir=False)
    collected.on(FAILED)
    end(collected, tmp_path, timed=True)
    assert collected.problems == {KEY: "not timed: (timeout) No answer."}
    assert told.notes == [f"Not timed: {CELL.label}: (timeout) No answer."]


def test_a_conductor_that_dies_leaves_the_ir_unkept(tmp_path: Path, told: Told) -> None:
    collected = collector(tmp_path, told)
    end(collected, tmp_path, timed=False)
    why = "the conductor ended early. Its last words: a last word"
    assert collected.problems == {KEY: f"IR not kept: {why}"}
    assert told.notes == [f"IR not kept: {CELL.label}: {why}"]


def test_a_cell_that_failed_is_no_problem_besides(tmp_path: Path, told: Told) -> None:
    collected = collector(tmp_path, told, answers=True)
    end(collected, tmp_path, timed=False, answers=True)
    assert collected.failures[KEY].kind == "engine"
    assert collected.problems == {}


def test_what_is_kept_is_no_problem(tmp_path: Path, told: Told) -> None:
    collected = collector(tmp_path, told)
    collected.on(compiled(tmp_path, "graph.txt"))
    end(collected, tmp_path, timed=False)
    assert (collected.kept, collected.problems, told.notes) == ({KEY}, {}, [])


def test_what_is_refused_is_told_and_not_asked_for_again(tmp_path: Path, told: Told) -> None:
    collected = collector(tmp_path, told)
    collected.on(compiled(tmp_path, "../secret.txt"))
    end(collected, tmp_path, timed=False)
    [note] = told.notes
    assert note.startswith(f"IR not kept: {CELL.label}: The name '../secret.txt'")
    assert collected.problems[KEY].startswith("IR not kept: The name '../secret.txt'")
    assert collected.kept == {KEY}
    kept = ir_folder(tmp_path / "store", KEY)
    assert is_whole(kept, deep=True)
    assert "'../secret.txt'" in json.loads((kept / "ir.json").read_text())["refused"]


def test_what_a_library_does_not_show_is_told(tmp_path: Path, told: Told) -> None:
    made = tmp_path / "work" / "ir"
    made.mkdir(parents=True)
    (made / "not-kept.txt").write_text("backend: no dump in this version")
    collected = collector(tmp_path, told)
    event = {"event": "compiled", "key": KEY, "folder": str(made), "files": ["not-kept.txt"]}
    collected.on(event)
    place = ir_folder(tmp_path / "store", KEY) / "not-kept.txt"
    assert place.read_text() == "backend: no dump in this version"
    assert f"not all that it compiled; why is in {place}" in collected.problems[KEY]
    assert collected.kept == {KEY}
