"""Seeding in a container keeps to the limits of its sweep, and is done once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.containers.limits import Limits
from harness.datasets.dataset import Dataset, Item
from harness.environments.environment import Environment
from harness.execution import seeding
from harness.execution.seeding import make_seeded
from harness.execution.side_jobs import Bench
from harness.models.entries import CheckpointEntry
from harness.progress import SilentProgress

ENV = Environment("torch", "torch", "2", "cpu", (), (), {}, "3.11", "identity")
ENTRY = CheckpointEntry("squeezenet1_1@seeded", "seeded", "squeezenet1_1")


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Bench]:
    """The benches that weights were made on; each time the file holds what was seeded from."""
    benches: list[Bench] = []

    @contextlib.contextmanager
    def side_job(
        bench: Bench, job: Mapping[str, Any], _awaited: str, folder: Path, *_: Any, **_2: Any
    ) -> Iterator[dict[str, Any]]:
        benches.append(bench)
        folder.mkdir()
        (folder / "weights.npz").write_text(job["source"]["path"])
        yield {}

    def prepare(dataset: Dataset, *_: Any) -> SimpleNamespace:
        key = "+".join(item.path for item in dataset.items)
        return SimpleNamespace(key=key, path=Path(key))

    monkeypatch.setattr(seeding, "side_job", side_job)
    monkeypatch.setattr(seeding, "prepare", prepare)
    monkeypatch.setattr(seeding, "folders", tuple)
    seeder = SimpleNamespace(name="torch", converters={"pixels>weights": ()})
    monkeypatch.setattr(seeding, "able", lambda *_: [seeder])
    monkeypatch.setattr(seeding, "resolve", lambda *_, **_2: ENV)
    monkeypatch.setattr(seeding, "runner_tree", lambda: (tmp_path, "runner"))
    monkeypatch.setattr(seeding, "seeded_folder", lambda _name: tmp_path / "seeded")
    return benches


def data(*names: str) -> Dataset:
    return Dataset(Path("data"), tuple(Item(name, 0) for name in names), None, "folders")


def test_limits_of_the_sweep_hold_for_seeding(used: list[Bench]) -> None:
    make_seeded(ENTRY, data("a"), progress=SilentProgress(), limits=Limits(memory_mib=99))
    make_seeded(ENTRY, data("b"), progress=SilentProgress())
    assert [bench.limits for bench in used] == [Limits(memory_mib=99), Limits()]


def test_weights_are_made_once_for_the_same_images_and_anew_for_others(used: list[Bench]) -> None:
    first, again, other = (
        make_seeded(ENTRY, data(name), progress=SilentProgress()) for name in ("a", "a", "b")
    )
    assert first == again
    assert first != other
    assert (first.read_text(), other.read_text()) == ("a", "b")
    assert len(used) == 2
