"""Hugging Face's image folders: labels in metadata.csv or metadata.jsonl."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.classes import imagenet, load_synsets
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,label\na.png,7\nsub/b.png,-1\nc.png,\n"),
        ("metadata.csv", 'caption,label,file_name\n"one, ""two""",7.0,a.png\n,-1,sub/b.png\n'),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "label": 7}\n\n{"file_name": "sub/b.png", "label": -1}\n'
            '{"file_name": "c.png", "label": null}\n',
        ),
    ],
)
def test_labels_are_read_and_minus_one_is_none(tmp_path: Path, name: str, text: str) -> None:
    _touch(tmp_path, "a.png", "sub/b.png", "c.png")
    (tmp_path / name).write_text(text)
    dataset = discover(tmp_path)
    assert dataset.layout == "metadata"
    assert _labels(dataset) == {"a.png": 7, "c.png": None, "sub/b.png": None}
    assert any("2 of 3 images have no label" in note for note in dataset.notes)


def test_wordnet_ids_and_names_of_a_given_list_are_understood(tmp_path: Path) -> None:
    data = _touch(tmp_path / "data", "a.png", "b.png")
    (data / "metadata.csv").write_text("file_name,label\na.png,n01443537\nb.png,n01440764\n")
    assert _labels(discover(data)) == {"a.png": 1, "b.png": 0}
    assert discover(data).classes == imagenet().classes
    (tmp_path / "animals.tsv").write_text("0\tcat\tcat\n1\tdog v2.0\tdog v2.0\n")
    (data / "metadata.csv").write_text("file_name,label\na.png,dog v2.0\nb.png,cat\n")
    listed = load_synsets(tmp_path / "animals.tsv")
    assert _labels(discover(data, listed)) == {"a.png": 1, "b.png": 0}
    with pytest.raises(DatasetError, match="neither an index from 0 nor a WordNet id"):
        discover(data)


def test_of_splits_in_folders_the_validation_or_the_asked_for_is_taken(tmp_path: Path) -> None:
    for split, label in (("train", 1), ("validation", 2), ("test", -1)):
        _touch(tmp_path, f"{split}/a.png")
        (tmp_path / split / "metadata.csv").write_text(f"file_name,label\na.png,{label}\n")
    dataset = discover(tmp_path)
    assert dataset.root == tmp_path / "validation"
    assert _labels(dataset) == {"a.png": 2}
    assert "validation is taken" in dataset.notes[0]
    assert _labels(discover(tmp_path, split="train")) == {"a.png": 1}
    assert _labels(discover(tmp_path, split="test")) == {"a.png": None}
    with pytest.raises(DatasetError, match="no split 'val'"):
        discover(tmp_path, split="val")


def test_metadata_without_labels_leave_the_folders_to_speak(tmp_path: Path) -> None:
    _touch(tmp_path, "n01443537/a.png")
    (tmp_path / "metadata.csv").write_text("file_name,caption\nn01443537/a.png,a fish\n")
    dataset = discover(tmp_path)
    assert (dataset.layout, _labels(dataset)) == ("synset-folders", {"n01443537/a.png": 1})
    assert "no column `label`" in dataset.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metadata.csv", "name,label\na.png,1\n", "no column file_name"),
        ("metadata.csv", "file_name,label\ngone.png,1\n", "None of the 1 names"),
        ("metadata.csv", "file_name,label\na.png,1\na.png,2\n", "two labels, 1 and 2"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": [1, 2]}\n', "line 1: .* one image"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": true}\n', "line 1: True"),
        ("metadata.jsonl", "[1]\n", "line 1 is no object"),
        ("metadata.jsonl", "{\n", "line 1 is not JSON"),
    ],
)
def test_bad_metadata_are_refused_with_their_place(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    _touch(tmp_path, "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=said) as caught:
        discover(tmp_path)
    assert name in str(caught.value)
