"""What is told of timing: INVALID sessions, cells left out, and a conductor that ends early."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cells import CELL

from harness.errors import ExecutionError
from harness.execution import collect
from harness.execution.collect import Collector
from harness.execution.documents import CellTask, GroupDocument, SessionTask
from harness.progress import SilentProgress
from harness.spec.models import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

A, B = CELL, replace(CELL, environment="f", environment_identity="other")
TIMING = {"event": "timing", "members": 2, "rounds": 16, "cores": [1, 3], "scenario": "offline"}
TIMED = {
    "event": "timed",
    "folder": "made",
    "members": [A.key, B.key],
    "dropped": {},
    "outputs": {},
}


class Told(SilentProgress):
    """Keeps what a person is told."""

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def collected(tmp_path: Path, told: Told) -> Collector:
    return Collector(
        store=tmp_path,
        unanswered=frozenset(),
        limits=Limits(),
        cells={cell.key: cell for cell in (A, B)},
        provisioned={},
        inputs={},
        progress=told,
        note_worker=lambda _: None,
    )


def judged(session: Sequence[str] = (), **cells: str) -> dict[str, Any]:
    def reasons(kinds: Sequence[str]) -> list[dict[str, str]]:
        return [{"kind": kind, "message": f"{kind} of it."} for kind in kinds]

    each = {A.key: cells.get("a"), B.key: cells.get("b")}
    return {
        "validity": {
            "session": reasons(session),
            "cells": {k: {"reasons": reasons([v] if v else [])} for k, v in each.items()},
        }
    }


def end(collected: Collector, tmp_path: Path) -> None:
    (tmp_path / "conductor.log").write_text("a last word\n")
    tasks = [
        CellTask(key=cell.key, label="m", python=Path("python"), job={}, answers=False)
        for cell in (A, B)
    ]
    document = GroupDocument(
        runner=tmp_path,
        results=tmp_path,
        timeout_s=1.0,
        cells=tuple(tasks),
        session=SessionTask(reference=A.key, rounds=1, round_ns=1),
    )
    collected.ended(document, tmp_path / "conductor.log")


def test_what_is_against_the_times_is_told_once_a_kind(
    collected: Collector, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(["throttled"], a="drift", b="drift")
    monkeypatch.setattr(collect, "commit_session", lambda *_: found)
    collected.on(TIMED)
    assert told.notes == [
        "INVALID (throttled): this session: throttled of it.",
        f"INVALID (drift): {A.label} and 1 more: drift of it.",
    ]
    assert collected.problems == {}


def test_this_process_keeps_off_the_cores_while_others_are_timed_on_them(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    now: list[list[int]] = []

    @contextmanager
    def keep_off(cores: list[int]) -> Iterator[bool]:
        now.append(cores)
        yield True
        now.remove(cores)

    monkeypatch.setattr(collect, "keep_off", keep_off)
    monkeypatch.setattr(collect, "commit_session", lambda *_: judged())
    collected.on(TIMING)
    assert now == [[1, 3]]
    collected.on(TIMED)
    assert now == []
    with collected:
        collected.on(TIMING)
    assert now == []


def test_those_that_were_left_out_of_a_session_are_told_of(
    collected: Collector, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(collect, "commit_session", lambda *_: judged())
    collected.on({**TIMED, "members": [A.key], "dropped": {B.key: "it crashed"}})
    end(collected, tmp_path)
    assert collected.problems == {B.key: "not timed: it crashed"}
    assert told.notes == [f"Not timed: {B.label}: it crashed"]


def test_samples_that_are_refused_leave_their_members_untimed(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ExecutionError("invalid-output", "no samples")

    monkeypatch.setattr(collect, "commit_session", refuse)
    collected.on(TIMED)
    assert collected.problems == dict.fromkeys((A.key, B.key), "not timed: no samples")


def test_of_several_sessions_those_that_never_came_are_told_of(
    collected: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(collect, "commit_session", lambda *_: judged())
    collected.on({**TIMED, "members": [A.key]})
    end(collected, tmp_path)
    assert set(collected.problems) == {B.key}
    assert "ended early. Its last words: a last word" in collected.problems[B.key]


def test_cells_that_could_not_be_timed_at_all_are_told_of_once(
    collected: Collector, told: Told, tmp_path: Path
) -> None:
    collected.on({"event": "not-timed", "keys": [A.key], "reason": "it ran at no batch"})
    collected.on({"event": "not-timed", "keys": [B.key], "reason": "it ran at no batch"})
    end(collected, tmp_path)
    assert len(told.notes) == 2
    assert collected.problems[A.key] == "not timed: it ran at no batch"


def test_cells_that_wait_for_memory_are_told_of(collected: Collector, told: Told) -> None:
    collected.on({"event": "part", "loaded": 3, "left": 2})
    assert "3 cells fill the free memory; 2 are timed after them" in told.notes[0]
