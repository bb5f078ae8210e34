"""Subsets: by a list, then by class, then by number."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.classes import Class, imagenet
from harness.datasets.dataset import Dataset, Item
from harness.datasets.subsets import subset
from harness.errors import DatasetError


def _dataset(labels: list[int | None], classes: tuple[Class, ...] | None = None) -> Dataset:
    items = tuple(Item(f"d{i % 2}/{i:02d}.png", label) for i, label in enumerate(labels))
    items = tuple(sorted(items, key=lambda item: item.path))
    return Dataset(Path("root"), items, classes, "labelled-files")


def _list(folder: Path, *names: str) -> Path:
    path = folder / "only.txt"
    path.write_text("\n".join(names) + "\n")
    return path


def _numbers(dataset: Dataset) -> list[int]:
    return [int(item.path[3:5]) for item in dataset.items]


@pytest.mark.parametrize("word", [1, "1", "n01443537", "goldfish", "Goldfish"])
def test_a_class_by_index_wordnet_id_and_name(word: str | int) -> None:
    dataset = _dataset([0, 1, None, 1], imagenet().classes)
    assert {item.label for item in subset(dataset, classes=[word]).items} == {1}


def test_spaces_and_underscores_in_a_name_are_alike_and_exact_names_come_first() -> None:
    dataset = _dataset([2, 264, 474], imagenet().classes)
    assert _numbers(subset(dataset, classes=["great white shark"])) == [0]
    assert _numbers(subset(dataset, classes=["Cardigan"])) == [1]
    assert _numbers(subset(dataset, classes=["cardigan"])) == [2]


def test_a_name_of_two_classes_is_refused_with_both() -> None:
    with pytest.raises(DatasetError, match="'crane' may be 134 or 517"):
        subset(_dataset([134], imagenet().classes), classes=["crane"])
    digits = (Class(0, None, "1"), Class(1, None, "0"))
    with pytest.raises(DatasetError, match="'1' may be 0 or 1"):
        subset(_dataset([0, 1], digits), classes=["1"])
    assert _numbers(subset(_dataset([0, 1], digits), classes=[1])) == [1]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("unicorn", "no class 'unicorn'"),
        ("n99999999", "no class 'n99999999'"),
        (1000, "class 1000 is outside the list of 1000"),
        (-1, "class -1 is outside"),
        ("5", "No image in root is of the classes 5: there are images of 2 other"),
    ],
)
def test_a_class_that_is_not_there_is_refused(word: str | int, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        subset(_dataset([0, 1], imagenet().classes), classes=[word])


def test_without_a_class_list_indexes_alone_say_something() -> None:
    dataset = _dataset([3, 7])
    assert _numbers(subset(dataset, classes=["7"])) == [1]
    with pytest.raises(DatasetError, match="no class list"):
        subset(dataset, classes=["tench"])
    with pytest.raises(DatasetError, match="no image has a label"):
        subset(_dataset([None]), classes=[7])


def test_a_class_without_images_is_said_where_others_have_some() -> None:
    chosen = subset(_dataset([0, 1], imagenet().classes), classes=["tench", "n15075141"])
    assert _numbers(chosen) == [0]
    assert chosen.notes == ("There is no image of 1 of the classes: n15075141.",)


def test_a_list_names_paths_or_files_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    dataset = _dataset([0, 1, 2, 3])
    chosen = subset(dataset, only=_list(tmp_path, "d1/03.png", "", "00", "x/d1/01.png", "gone.png"))
    assert _numbers(chosen) == [0, 1, 3]
    assert "1 names" in chosen.notes[0]
    assert "gone.png" in chosen.notes[0]


def test_a_list_of_other_files_is_refused_with_examples(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'a\.png' is the first; the first image is 'd0/00.png"):
        subset(_dataset([0]), only=_list(tmp_path, "a.png"))
    with pytest.raises(DatasetError, match="Cannot read"):
        subset(_dataset([0]), only=tmp_path / "absent.txt")


def test_list_classes_and_number_apply_in_this_order(tmp_path: Path) -> None:
    dataset = _dataset([i % 5 for i in range(50)], imagenet().classes)
    only = _list(tmp_path, *(f"{i:02d}.png" for i in range(20)))
    chosen = subset(dataset, classes=[1, 2], only=only, limit=4, seed=3)
    assert len(chosen.items) == 4
    assert sorted(item.label for item in chosen.items) == [1, 1, 2, 2]
    assert all(number < 20 for number in _numbers(chosen))
    assert chosen == subset(dataset, classes=["goldfish", 2], only=only, limit=4, seed=3)
    assert chosen != subset(dataset, classes=[1, 2], only=only, limit=4, seed=4)


def test_nothing_asked_for_is_the_dataset_itself() -> None:
    dataset = _dataset([0, 1])
    assert subset(dataset) is dataset
    assert subset(dataset, limit=2) is dataset
