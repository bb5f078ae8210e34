"""What becomes of cells that are opened again to say what they were compiled to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cells import CELL

from harness.execution.bundles import answers_folder, is_whole, seal
from harness.execution.collect import Collector
from harness.execution.documents import CellTask, GroupDocument
from harness.progress import SilentProgress
from harness.spec.models import Limits

KEY = CELL.key
FORM = {"form": "hlo", "sha256": "0f" * 32, "operators": {}, "passes": None, "code_bytes": None}


class Told(SilentProgress):
    """Keeps what a person is told."""

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def collected(tmp_path: Path, told: Told) -> Collector:
    """A collector for a cell whose answers are there without a fingerprint."""
    folder = answers_folder(tmp_path / "store", KEY)
    folder.mkdir(parents=True)
    (folder / "answers.json").write_text("{}")
    seal(folder)
    return Collector(
        store=tmp_path / "store",
        unanswered=frozenset(),
        unproved=frozenset({KEY}),
        limits=Limits(),
        cells={KEY: CELL},
        provisioned={},
        inputs={},
        progress=told,
        note_worker=lambda _: None,
    )


def end(collected: Collector, tmp_path: Path) -> None:
    (tmp_path / "conductor.log").write_text("a last word\n")
    task = CellTask(key=KEY, label="m", python=Path("python"), job={}, answers=False)
    document = GroupDocument(runner=tmp_path, results=tmp_path, timeout_s=1.0, cells=(task,))
    collected.ended(document, tmp_path / "conductor.log")


def test_what_it_says_is_added_to_its_answers(
    tmp_path: Path, told: Told, collected: Collector
) -> None:
    collected.on({"event": "proved", "key": KEY, "compiled": FORM})
    end(collected, tmp_path)
    folder = answers_folder(tmp_path / "store", KEY)
    assert json.loads((folder / "answers.json").read_text()) == {"compiled": FORM}
    assert is_whole(folder, deep=True)
    assert (collected.proved, collected.problems, told.notes) == ({KEY}, {}, [])


def test_one_that_cannot_be_opened_again_keeps_its_answers_and_the_reason_is_told(
    tmp_path: Path, told: Told, collected: Collector
) -> None:
    collected.on(
        {
            "event": "failed",
            "key": KEY,
            "kind": "timeout",
            "message": "Its model was not loaded and compiled after 2 s.",
            "detail": "",
            "exit_status": None,
            "signal": None,
            "log": None,
            "limits": {"compile_seconds": 2},
        }
    )
    end(collected, tmp_path)
    why = "(timeout) Its model was not loaded and compiled after 2 s."
    assert collected.problems == {KEY: f"compiled form not known: {why}"}
    assert told.notes == [f"Compiled form not known: {CELL.label}: {why}"]
    assert (collected.failures, collected.proved) == ({}, set())


def test_a_conductor_that_dies_leaves_it_unknown(
    tmp_path: Path, told: Told, collected: Collector
) -> None:
    end(collected, tmp_path)
    why = "the conductor ended early. Its last words: a last word"
    assert collected.problems == {KEY: f"compiled form not known: {why}"}
