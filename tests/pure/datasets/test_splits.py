"""Which Parquet files make a split, and which split is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.splits import choose_split, parquet_files
from harness.errors import DatasetError

DATA = Path("somewhere")


def _shards(split: str, count: int, folder: str = "data") -> list[str]:
    return [f"{folder}/{split}-{i:05d}-of-{count:05d}.parquet" for i in range(count)]


def test_validation_is_taken_before_test_and_train_and_it_is_said() -> None:
    files = sorted([*_shards("train", 3), *_shards("validation", 2), *_shards("test", 1)])
    assert parquet_files(DATA, files, None) == (
        _shards("validation", 2),
        ["Of the splits test, train, validation in somewhere, validation is taken."],
    )
    assert parquet_files(DATA, files, "train") == (_shards("train", 3), [])


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["train", "val"], "val"),
        (["train", "test"], "test"),
        (["train"], "train"),
        (["validation_tiny"], "validation_tiny"),
        (["test", "valid"], "valid"),
    ],
)
def test_the_preference_of_splits(names: list[str], chosen: str) -> None:
    assert choose_split(names, None, DATA)[0] == chosen


def test_several_unknown_splits_and_one_that_is_not_there_are_refused_naming_all() -> None:
    with pytest.raises(DatasetError, match="several splits: blue, red"):
        choose_split(["red", "blue"], None, DATA)
    with pytest.raises(DatasetError, match="no split 'green'") as caught:
        choose_split(["red", "blue"], "green", DATA)
    assert "blue, red" in caught.value.remedy


@pytest.mark.parametrize(
    "path",
    [
        "val.parquet",
        "imagenet.val.parquet",
        "my-val-set.parquet",
        "default/val/0000.parquet",
        "data/val-00000-of-00001-0123456789abcdef.parquet",
    ],
)
def test_a_split_is_read_from_a_files_or_its_folders_name(path: str) -> None:
    assert parquet_files(DATA, [path], "val") == ([path], [])


def test_files_that_name_no_split_are_one_in_their_order() -> None:
    assert parquet_files(DATA, ["part-2.parquet", "part-1.parquet"], None) == (
        ["part-1.parquet", "part-2.parquet"],
        [],
    )


def test_files_that_are_missing_are_said() -> None:
    chosen, notes = parquet_files(DATA, _shards("test", 4)[1:3], None)
    assert chosen == _shards("test", 4)[1:3]
    assert "Of the 4 files of the split test, 2 are in somewhere" in notes[0]


def test_two_versions_or_two_configurations_are_not_mixed() -> None:
    with pytest.raises(DatasetError, match="mixes files of several versions"):
        parquet_files(DATA, [*_shards("test", 2), *_shards("test", 3)], None)
    with pytest.raises(DatasetError, match="several folders of somewhere: big, small"):
        parquet_files(DATA, [*_shards("test", 1, "big"), *_shards("test", 1, "small")], None)
