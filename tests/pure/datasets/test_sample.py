"""Samples: seeded, spread over classes, nested, in the dataset's own order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.datasets.layouts import Dataset, Item
from harness.datasets.sample import limit
from harness.errors import DatasetError


def _dataset(labels: list[int | None]) -> Dataset:
    items = tuple(Item(f"{i:04d}.png", label) for i, label in enumerate(labels))
    return Dataset(Path("root"), items, None, "labelled-files")


def test_every_class_is_drawn_from_before_one_is_drawn_from_twice() -> None:
    dataset = _dataset([i % 10 for i in range(100)])
    assert len({item.label for item in limit(dataset, 10).items}) == 10
    assert Counter(Counter(i.label for i in limit(dataset, 25).items).values()) == {2: 5, 3: 5}


def test_the_order_of_the_dataset_is_kept_and_a_smaller_sample_lies_inside_a_larger() -> None:
    dataset = _dataset([i % 7 if i % 3 else None for i in range(60)])
    small, large = limit(dataset, 9).items, limit(dataset, 31).items
    assert list(large) == sorted(large, key=lambda item: item.path)
    assert set(small) < set(large)


def test_the_seed_decides_and_is_the_same_on_every_machine() -> None:
    dataset = _dataset([None] * 20)
    chosen = [item.path for item in limit(dataset, 3).items]
    assert chosen == [item.path for item in limit(dataset, 3).items]
    assert chosen != [item.path for item in limit(dataset, 3, seed=1).items]
    assert chosen == ["0005.png", "0011.png", "0018.png"]


def test_more_than_there_are_is_all_of_them() -> None:
    dataset = _dataset([0, 1])
    assert limit(dataset, 2) is dataset
    assert limit(dataset, 99) is dataset


@pytest.mark.parametrize("n", [0, -1])
def test_an_empty_sample_is_refused(n: int) -> None:
    with pytest.raises(DatasetError, match=f"sample of {n}"):
        limit(_dataset([0]), n)
