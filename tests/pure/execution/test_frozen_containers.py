"""Workers in containers that are frozen: over an engine that is made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from support.fake_containers import NUMBER, FakeContainers

from harness.containers.engine import Engine
from harness.errors import ExecutionError
from harness.execution import container_worker
from harness.execution.container_worker import ContainerWorker
from harness.trees import temporary_folder


class Held:
    """What a guardian was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def hold_container(self, number: str) -> None:
        self.told.append(("hold", number))

    def release(self, name: str) -> None:
        self.told.append(("release", name))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    guardian = Held()
    monkeypatch.setattr(container_worker, "GUARDIAN", guardian)
    return guardian


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder("h-") as made:
        yield made


def worker_of(engine: FakeContainers, folder: Path) -> ContainerWorker:
    tree = folder / "tree"
    tree.mkdir()
    job: dict[str, Any] = {"schema_version": 1, "kind": "probe"}
    return ContainerWorker(
        cast("Engine", engine),
        image="i",
        python="python",
        runner=tree,
        job=job,
        work=folder / "cells" / "a",
        socket_folder=folder / "s",
    )


def test_it_is_told_to_the_guardian_before_it_is_paused_and_forgotten_when_it_is_gone(
    held: Held, folder: Path
) -> None:
    engine = FakeContainers()
    worker = worker_of(engine, folder)
    worker.freeze()
    worker.freeze()
    assert (engine.status, engine.asked) == ("paused", ["pause"])
    worker.thaw()
    worker.thaw()
    assert (engine.status, engine.asked) == ("running", ["pause", "unpause"])
    worker.freeze()
    worker.kill()
    assert engine.status == "gone"
    assert held.told == [("hold", NUMBER), ("hold", NUMBER), ("release", NUMBER)]
    assert worker.left_behind == ""


def test_closing_a_paused_container_removes_it(held: Held, folder: Path) -> None:
    engine = FakeContainers(kills_paused=False, removes_paused=False)
    worker = worker_of(engine, folder)
    worker.freeze()
    worker.close()
    assert engine.status == "gone"
    worker.freeze()
    worker.thaw()
    assert engine.asked[-1] == "remove"


def test_one_that_cannot_be_paused_runs_on_and_that_is_said(held: Held, folder: Path) -> None:
    engine = FakeContainers(freezer=False)
    worker = worker_of(engine, folder)
    with pytest.raises(ExecutionError, match="cgroup freezer is not mounted") as caught:
        worker.freeze()
    assert (caught.value.kind, engine.status) == ("engine", "running")
    worker.kill()
    assert engine.status == "gone"


def test_a_command_thaws_it_first(held: Held, folder: Path) -> None:
    engine = FakeContainers()
    worker = worker_of(engine, folder)
    worker.freeze()
    # Nobody listens inside of it: it counts as ended.
    with pytest.raises(ExecutionError):
        engine_ends_after_thaw(engine, worker)
    assert engine.asked[:2] == ["pause", "unpause"]


def engine_ends_after_thaw(engine: FakeContainers, worker: ContainerWorker) -> None:
    unpause = engine.unpause

    def unpause_and_end(number: str) -> None:
        unpause(number)
        engine.end()

    engine.unpause = unpause_and_end  # type: ignore[method-assign]
    worker.command({"command": "round", "iterations": 1}, 10, lambda _: None)


def test_its_peak_is_in_mib_and_none_once_it_is_gone(held: Held, folder: Path) -> None:
    worker = worker_of(FakeContainers(peak=3 << 19), folder)
    assert worker.peak_mib() == 1.5
    worker.kill()
    assert worker.peak_mib() is None


def test_the_peak_of_one_whose_engine_is_gone_is_none(held: Held, folder: Path) -> None:
    engine = FakeContainers(peak=1)
    worker = worker_of(engine, folder)
    engine.end()
    engine.status = "gone"
    assert worker.peak_mib() is None
    worker.kill()
