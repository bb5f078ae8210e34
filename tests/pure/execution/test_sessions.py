"""Who is loaded beside whom: memory, failures, and the reference in every part."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.fake_workers import Clock, FakeWorker

from harness.errors import ExecutionError
from harness.execution import sessions, turns
from harness.execution.cores import CoreChoice
from harness.execution.documents import CellTask, GroupDocument, SessionTask
from harness.execution.room import Memory
from harness.execution.sessions import Sessions
from harness.execution.turns import Member


class Opener:
    """Knows what is open."""

    def __init__(self) -> None:
        self.open: dict[str, FakeWorker] = {}

    @staticmethod
    def cores_of(threads: int) -> CoreChoice:
        return CoreChoice(tuple(range(1, 1 + threads)), (0,))

    def forget(self, key: str) -> None:
        self.open.pop(key, None)

    def close(self, key: str) -> None:
        if key in self.open:
            self.open.pop(key).close()


class Stage:
    """A group whose cells are fakes; `room` of them fit beside each other."""

    def __init__(self, folder: Path, keys: str, *, room: int = 99, **session: Any) -> None:
        self.folder = folder
        self.room = room
        self.opener = Opener()
        self.clock = Clock()
        self.events: list[dict[str, Any]] = []
        self.workers: dict[str, list[FakeWorker]] = {}
        self.everyone: list[FakeWorker] = []
        self.waits = False
        self.broken: dict[str, dict[str, Any]] = {}
        self.unloadable: set[str] = set()
        self.asked: list[tuple[str, bool]] = []
        self.fixed: set[str] = set()
        self.started_in: list[Path] = []
        self.starts: dict[str, int] = {}
        task = SessionTask(
            **{"reference": "r", "rounds": 2, "round_ns": 1_000_000, **session}
        )  # fmt: skip
        self.group = GroupDocument(
            runner=folder,
            results=folder,
            timeout_s=9,
            cells=tuple(
                CellTask(key=k, label=k, python=Path("python"), job={"batch": 1}, answers=True)
                for k in keys
            ),
            session=task,
        )

    def _open(self, key: str) -> FakeWorker:
        worker = FakeWorker(self.clock, **self.broken.get(key, {}), beside=self.everyone)
        self.everyone.append(worker)
        self.workers.setdefault(key, []).append(worker)
        self.opener.open[key] = worker
        return worker

    def _answer(self, task: CellTask) -> Member | None:
        self.asked.append((task.key, task.answers))
        if task.key in self.unloadable:
            return None
        return Member(task.key, self._open(task.key), self.folder, {})

    def _open_at(self, task: CellTask, batch: int, folder: Path) -> tuple[Any, dict[str, Any]]:
        if batch > 1 and task.key in self.fixed:
            raise ExecutionError("unsupported", "a fixed batch of 1")
        if len(self.workers.get(task.key, [])) > self.starts.get(task.key, 99):
            raise ExecutionError("exit", "it does not start again")
        worker = self._open(task.key)
        # Twice as many inputs take a half longer, up to 8; from there on they bring nothing.
        worker.call_ns = round(1_000_000 * (1.5 ** min(3, batch.bit_length() - 1)))
        worker.call_ns *= max(1, batch // 8)
        self.started_in.append(folder)
        costs = {"load_ns": 1, "compile_ns": 2, "first_inference_ns": 3}
        return worker, {"batch": batch, **costs}

    def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stage = self

        class FewPlaces:
            def __init__(self, gpu: str | None) -> None:
                assert gpu is None

            def free(self) -> Memory:
                return Memory(1000.0 * (stage.room - len(stage.opener.open)))

            def note(self, taken: Memory) -> None:
                assert taken.host_mib in {0, 1000}

            def holds_one_more(self) -> bool:
                return len(stage.opener.open) < stage.room

            def close(self) -> None:
                pass

        monkeypatch.setattr(sessions, "Room", FewPlaces)
        really_sleep = time.sleep

        def sleep(seconds: float) -> None:
            if stage.waits:
                really_sleep(seconds)
                stage.clock.sleep(seconds)

        monkeypatch.setattr(turns.time, "sleep", sleep)
        Sessions(
            self.group,
            self.opener,  # type: ignore[arg-type]
            self._answer,
            self._open_at,
            lambda event, **fields: self.events.append({"event": event, **fields}),
        ).run()

    def timed(self) -> list[list[str]]:
        return [event["members"] for event in self.events if event["event"] == "timed"]

    def documents(self) -> list[dict[str, Any]]:
        return [
            json.loads((Path(event["folder"]) / "session.json").read_text())
            for event in self.events
            if event["event"] == "timed"
        ]


def test_what_fits_is_timed_in_one_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, "rcab", control="c")
    stage.run(monkeypatch)
    assert stage.timed() == [["r", "c", "a", "b"]]
    [document] = stage.documents()
    assert document["cores"] == [1]
    assert (document["reference"], document["control"]) == ("r", "c")
    assert stage.opener.open.keys() <= {"r", "c"}


def test_what_does_not_fit_is_timed_in_parts_that_share_the_reference_and_its_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "rcabde", room=4, control="c")
    stage.run(monkeypatch)
    assert stage.timed() == [["r", "c", "a", "b"], ["r", "c", "d", "e"]]
    assert len(stage.workers["r"]) == 1
    assert stage.workers["a"][0].closed
    assert [e["left"] for e in stage.events if e["event"] == "part"] == [2]


def test_what_spins_takes_nothing_from_what_is_measured_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither their warm-up, by which rounds are sized, nor their rounds, nor their stages."""
    stage = Stage(tmp_path, "rab", room=2, round_ns=10_000_000)
    stage.waits = True
    stage.broken["r"] = {"idle_share": 1.0}
    stage.run(monkeypatch)
    assert stage.timed() == [["r", "a"], ["r", "b"]]
    for document, other in zip(stage.documents(), "ab", strict=True):
        assert document["iterations"] == {"r": 10, other: 10}
        assert set(document["spinning"]) == {"r"}
        medians = {key: found["stages"]["compute"] for key, found in document["stages"].items()}
        assert {key: found["median_ns"] for key, found in medians.items()} == {
            "r": 1_000_000,
            other: 1_000_000,
        }
        assert {len(spent) for spent in document["idle_cpu_ns"].values()} == {2}


def test_one_more_than_the_reference_is_loaded_in_every_part_however_little_room_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "rab", room=1)
    stage.run(monkeypatch)
    assert stage.timed() == [["r", "a"], ["r", "b"]]


@pytest.mark.parametrize(
    ("calls", "timed"),
    [(6, [["a"], ["b"]]), (10, [["r", "a"], ["r", "b"]])],
    ids=["in the rounds", "after them"],
)
def test_a_reference_that_crashed_is_opened_again_for_the_next_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int, timed: list[list[str]]
) -> None:
    stage = Stage(tmp_path, "rab", room=2)
    stage.broken["r"] = {"fails_after": calls}
    stage.run(monkeypatch)
    assert stage.timed() == timed
    assert len(stage.workers["r"]) == 2
    assert [answers for key, answers in stage.asked if key == "r"] == [True, False]
    assert all(worker.closed for worker in stage.workers["r"])


def test_a_member_that_fails_in_the_rounds_leaves_the_others_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "rab")
    stage.broken["a"] = {"fails_after": 6}
    stage.unloadable = {"b"}
    stage.run(monkeypatch)
    assert stage.timed() == [["r"]]
    [event] = [e for e in stage.events if e["event"] == "timed"]
    assert event["dropped"] == {"a": "it failed"}


def test_with_fresh_processes_each_round_of_each_member_has_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"rounds": 4, "fresh_processes": True, "floor": 0.01, "min_queries": 100}
    stage = Stage(tmp_path, "rca", control="c", **more)
    stage.run(monkeypatch)
    assert stage.timed() == [["r", "c", "a"]]
    for workers in stage.workers.values():
        # The first got the answers; each of the others a warm-up and one round.
        assert [one.said.count("round") for one in workers[1:]] == [1, 1, 1, 1]
        assert all(one.said[:2] == ["warmup", "round"] for one in workers[1:])
        assert all(one.closed for one in workers[:-1])
        assert workers[-1].said[2] == "timed_outputs"
    [document] = stage.documents()
    assert document["fresh_processes"] is True
    assert document["floor"] == pytest.approx(0.005)
    assert [one["round"] for one in document["starts"]["a"]] == [0, 1, 2, 3]
    assert document["starts"]["a"][0]["compile_ns"] == 2
    assert document["iterations"] == {"r": 25, "c": 25, "a": 25}
    assert {folder.parent.name for folder in stage.started_in} == {"fresh"}
    # Started in the round's order, so that none is always the first.
    assert "".join(folder.name for folder in stage.started_in) == "rcaacrcarrac"


def test_without_them_the_same_processes_are_timed_and_the_floor_is_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "ra", rounds=4, floor=0.02)
    stage.run(monkeypatch)
    assert [len(workers) for workers in stage.workers.values()] == [1, 1]
    [document] = stage.documents()
    assert (document["floor"], document["fresh_processes"], document["starts"]) == (0.02, False, {})


def test_a_member_that_does_not_start_again_leaves_the_others_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "rab", rounds=4, fresh_processes=True)
    stage.starts = {"a": 2}
    stage.run(monkeypatch)
    assert stage.timed() == [["r", "b"]]
    [event] = [e for e in stage.events if e["event"] == "timed"]
    assert event["dropped"] == {"a": "it does not start again"}


def test_one_that_spins_is_thawed_before_it_is_ended_and_its_successor_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "ra", round_ns=10_000_000, fresh_processes=True)
    stage.waits = True
    stage.broken["r"] = {"idle_share": 1.0}
    stage.run(monkeypatch)
    first, second, _ = stage.workers["r"]
    assert first.said[-2:] == ["freeze", "thaw"]
    assert second.said == ["warmup", "freeze", "thaw", "round", "freeze", "thaw"]


def test_offline_finds_the_batch_of_each_and_gives_the_control_its_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "rca", scenario="offline", control="c", min_queries=64)
    stage.fixed = {"a"}
    stage.run(monkeypatch)
    [document] = stage.documents()
    assert document["batch"] == {"r": 8, "c": 8, "a": 1}
    search = document["offline_search"]
    assert [one["batch"] for one in search["r"]] == [1, 2, 4, 8, 16, 32]
    assert search["a"][-1] == {"batch": 2, "refused": "(unsupported) a fixed batch of 1"}
    assert "c" not in search
    assert document["iterations"] == {"r": 4, "c": 4, "a": 32}
    # Each is answered with its own batch first, and closed before anything is tried.
    assert stage.asked == [("r", True), ("c", True), ("a", True)]
    assert all(workers[0].closed for workers in stage.workers.values())


def test_offline_opens_what_is_answered_already_only_for_what_its_backend_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "rab", scenario="offline", offline_batches=(2,))
    r, a, b = stage.group.cells
    kept = a.model_copy(update={"answers": False, "job": {**a.job, "keep_ir": True}})
    done = b.model_copy(update={"answers": False})
    stage.group = stage.group.model_copy(update={"cells": (r, kept, done)})
    stage.unloadable = {"r"}
    stage.run(monkeypatch)
    assert stage.asked == [("r", True), ("a", False)]
    assert stage.timed() == [["a", "b"]]


def test_doubling_ends_where_twice_as_many_might_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "r", room=1, scenario="offline")
    stage.run(monkeypatch)
    [document] = stage.documents()
    assert [one["batch"] for one in document["offline_search"]["r"]] == [1, 2]
    assert "free memory" in document["offline_search"]["r"][1]["refused"]


def test_where_the_samples_cannot_be_written_all_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ExecutionError("disk-full", "no room")

    monkeypatch.setattr(sessions, "run_session", full)
    stage = Stage(tmp_path, "ra")
    stage.run(monkeypatch)
    [event] = [e for e in stage.events if e["event"] == "not-timed"]
    assert (event["keys"], event["reason"]) == (["r", "a"], "(disk-full) no room")
