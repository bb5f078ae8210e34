"""Folders of class indexes: read as numbers, and only where they are indexes beyond doubt."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.classes import SynsetList, imagenet, load_synsets
from harness.datasets.layouts import Dataset, discover
from harness.errors import DatasetError


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def _labels(dataset: Dataset) -> dict[str, int | None]:
    return {item.path: item.label for item in dataset.items}


def _letters(folder: Path, count: int) -> SynsetList:
    path = folder / "letters.tsv"
    path.write_text("".join(f"{i}\tletter-{i}\tletter {i}\n" for i in range(count)))
    return load_synsets(path)


def test_a_folder_for_each_of_the_1000_classes_is_read_as_numbers(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{i}/a.jpeg" for i in range(1000)))
    dataset = discover(tmp_path)
    assert dataset.layout == "index-folders"
    assert _labels(dataset) == {f"{i}/a.jpeg": i for i in range(1000)}
    assert dataset.classes == imagenet().classes
    (tmp_path / "1000").mkdir()
    _touch(tmp_path, "1000/a.jpeg")
    assert discover(tmp_path).layout == "unlabelled", "as ids from 1 would be"


@pytest.mark.parametrize(
    ("root", "inside"),
    [
        ("imagenetv2-matched-frequency-format-val", ""),
        ("ImageNet-V2/val", ""),
        ("data", "imagenetv2-top-images-format-val/"),
    ],
)
def test_a_part_of_imagenet_v2_is_known_by_a_folders_name(
    tmp_path: Path, root: str, inside: str
) -> None:
    data = _touch(tmp_path / root, f"{inside}10/a.jpeg", f"{inside}2/b.jpeg", f"{inside}999/c.jpeg")
    dataset = discover(data)
    assert dataset.layout == "index-folders"
    assert list(_labels(dataset).values()) == [10, 2, 999]


def test_a_few_numbers_may_mean_anything_and_stay_unlabelled_until_it_is_said(
    tmp_path: Path,
) -> None:
    data = _touch(tmp_path / "data", "10/a.png", "2/b.png")
    dataset = discover(data)
    assert dataset.layout == "unlabelled"
    assert _labels(dataset) == {"10/a.png": None, "2/b.png": None}
    assert "layout: index-folders" in dataset.notes[0]
    said = discover(data, layout="index-folders")
    assert _labels(said) == {"10/a.png": 10, "2/b.png": 2}


def test_a_given_list_takes_its_own_full_count_and_asks_about_a_part(tmp_path: Path) -> None:
    letters = _letters(tmp_path, 3)
    whole = _touch(tmp_path / "whole", "0/a.png", "1/b.png", "2/c.png")
    assert _labels(discover(whole, letters)) == {"0/a.png": 0, "1/b.png": 1, "2/c.png": 2}
    part = _touch(tmp_path / "part", "1/b.png")
    with pytest.raises(DatasetError, match="None of the folders") as caught:
        discover(part, letters)
    assert "layout: index-folders" in caught.value.remedy
    assert _labels(discover(part, letters, layout="index-folders")) == {"1/b.png": 1}


def test_a_list_whose_classes_are_named_by_numbers_goes_by_the_names(tmp_path: Path) -> None:
    listed = tmp_path / "digits.tsv"
    listed.write_text("0\t1\t1\n1\t0\t0\n")
    data = _touch(tmp_path / "data", "0/a.png", "1/b.png")
    assert _labels(discover(data, load_synsets(listed))) == {"0/a.png": 1, "1/b.png": 0}


def test_padded_numbers_are_taken_only_on_request(tmp_path: Path) -> None:
    data = _touch(tmp_path / "imagenetv2", "007/a.png")
    assert discover(data).layout == "unlabelled"
    assert _labels(discover(data, layout="index-folders")) == {"007/a.png": 7}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("0/a.png", "1000/b.png"), "The folder 1000 .* outside the list of 1000"),
        (("1/a.png", "01/b.png"), "stand for one class"),
        (("1/a.png", "cat/b.png"), "no class index: cat"),
        (("1/a.png", "²/b.png"), "no class index: ²"),
    ],
)
def test_what_is_no_index_is_refused_where_indexes_are_asked_for(
    tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    _touch(tmp_path / "data", *names)
    with pytest.raises(DatasetError, match=said):
        discover(tmp_path / "data", layout="index-folders")


def test_a_layout_can_be_asked_for_and_must_fit(tmp_path: Path) -> None:
    data = _touch(tmp_path / "data", "n01440764/a.JPEG")
    (data / "val.txt").write_text("a.JPEG 7\n")
    assert _labels(discover(data)) == {"n01440764/a.JPEG": 7}
    assert _labels(discover(data, layout="synset-folders")) == {"n01440764/a.JPEG": 0}
    assert _labels(discover(data, layout="unlabelled")) == {"n01440764/a.JPEG": None}
    with pytest.raises(DatasetError, match="no Parquet file"):
        discover(data, layout="parquet")
    with pytest.raises(DatasetError, match=r"no metadata\.csv"):
        discover(data, layout="metadata")
    (data / "val.txt").unlink()
    with pytest.raises(DatasetError, match="no list of labels"):
        discover(data, layout="labelled-files")
    with pytest.raises(DatasetError, match="do not name classes"):
        discover(_touch(tmp_path / "plain", "cat/a.png"), layout="synset-folders")
    with pytest.raises(DatasetError, match="no layout 'folders'") as caught:
        discover(data, layout="folders")
    assert "index-folders" in caught.value.remedy


def test_a_split_is_a_folder_of_that_name(tmp_path: Path) -> None:
    _touch(tmp_path, "train/n01440764/a.JPEG", "val/n01443537/b.JPEG")
    assert len(discover(tmp_path).items) == 2
    dataset = discover(tmp_path, split="val")
    assert dataset.root == tmp_path / "val"
    assert _labels(dataset) == {"n01443537/b.JPEG": 1}
    with pytest.raises(DatasetError, match="no split 'test'"):
        discover(tmp_path, split="test")
    with pytest.raises(DatasetError, match=r"'\.\./val' is no name of a split"):
        discover(tmp_path / "train", split="../val")
