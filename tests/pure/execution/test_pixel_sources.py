"""Sources of pixels share their images: what one cannot use is left out of all, and said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.dataset import Dataset, Item
from harness.datasets.inputs import Excluded, PreparedInputs
from harness.datasets.recipes import PRESETS
from harness.environments.environment import Environment
from harness.errors import DatasetError
from harness.execution import pixel_sources
from harness.execution.pixel_sources import Source, prepare_all
from harness.execution.preparing import Made
from harness.execution.side_jobs import Bench
from harness.progress import SilentProgress
from harness.spec.feeding import Preprocessor

BENCH = Bench(Environment("e", "imaging", "1", "cpu", (), (), {}, "3.11", "identity"), None)
DATA = Dataset(
    Path("data"),
    tuple(Item(name, 0) for name in ("a", "b", "c")),
    None,
    "folders",
    excluded=(Excluded("z", "is empty"),),
)


def source(name: str | None, height: int = 224) -> Source:
    how = Preprocessor(name) if name else None
    bench = BENCH if name else None
    return Source(PRESETS["tf"], height, 224, False, how, bench, None, None)


def fakes(
    monkeypatch: pytest.MonkeyPatch,
    losses: Mapping[str, Mapping[str, str]],
    undecodable: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Libraries that cannot use some images, each for its reason; and the harness's own decoder."""

    def reference(
        dataset: Dataset, _recipe: object, height: int, *_: Any, **_2: Any
    ) -> PreparedInputs:
        bad = {n: w[height] for n, w in (undecodable or {}).items() if height in w}
        kept = [item for item in dataset.items if item.path not in bad]
        here = {item.path for item in dataset.items}
        excluded = [*dataset.excluded, *(Excluded(n, w) for n, w in bad.items() if n in here)]
        return PreparedInputs(
            key=f"reference {height}",
            path=Path("p"),
            kind="pixels",
            count=len(kept),
            names=tuple(item.path for item in kept),
            labels=tuple(item.label for item in kept),
            sha256=tuple(item.path for item in kept),
            classes=None,
            excluded=tuple(excluded),
            layout="folders",
        )

    def inside(_bench: Bench, how: Preprocessor, images: PreparedInputs, *_: Any) -> Made:
        lost = losses.get(how.name, {})
        names = tuple(name for name in images.names if name not in lost)
        failed = tuple(Excluded(n, f"{how.name}: {lost[n]}") for n in images.names if n in lost)
        return Made(replace(images, key=how.name, names=names, count=len(names)), failed)

    monkeypatch.setattr(pixel_sources, "prepare", reference)
    monkeypatch.setattr(pixel_sources, "prepare_in", inside)


def test_an_image_that_the_only_source_cannot_use_is_noted_and_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fakes(monkeypatch, {"tensorflow": {"b": "it is CMYK"}})
    progress = SilentProgress()
    [made] = prepare_all([source("tensorflow")], DATA, progress).values()
    assert made.names == ("a", "c")
    assert set(made.excluded) == {
        Excluded("b", "tensorflow: it is CMYK"),
        Excluded("z", "is empty"),
    }
    assert progress.notes == [
        "Left out of all cells: z: is empty",
        "Left out of all cells: b: tensorflow: it is CMYK",
    ]


def test_sources_that_agree_on_a_loss_record_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, {"opencv": {"a": "x"}, "torchvision": {"a": "x", "c": "y"}})
    made = prepare_all([source("opencv"), source("torchvision")], DATA, SilentProgress())
    assert {one.names for one in made.values()} == {("b",)}
    assert {e.name for one in made.values() for e in one.excluded} == {"a", "c", "z"}


def test_an_image_lost_to_one_source_is_left_out_of_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fakes(monkeypatch, {"opencv": {"a": "x"}})
    made = prepare_all([source(None), source("opencv")], DATA, SilentProgress())
    assert {one.names for one in made.values()} == {("b", "c")}


def test_what_one_size_excludes_and_another_does_not_is_left_out_of_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fakes(monkeypatch, {}, {"c": {224: "it is too wide"}})
    made = prepare_all([source(None), source(None, 96)], DATA, SilentProgress())
    assert {one.names for one in made.values()} == {("a", "b")}
    assert {e.reason for one in made.values() for e in one.excluded if e.name == "c"} == {
        "it is too wide"
    }


def test_nothing_left_is_told_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, {"opencv": {"a": "x", "b": "x"}, "pillow": {"c": "y"}})
    with pytest.raises(DatasetError, match=r"No image can be used by everybody(.|\n)*a: opencv: x"):
        prepare_all([source("opencv"), source("pillow")], DATA, SilentProgress())
