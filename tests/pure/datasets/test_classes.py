"""Class lists: forms people have, and lists that are not full."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.classes import imagenet, load_synsets
from harness.errors import DatasetError


def _file(folder: Path, text: str | bytes, name: str = "list.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_shipped_list_is_the_full_ilsvrc_list() -> None:
    classes = imagenet()
    assert len(classes) == 1000
    assert classes.index_of("n01440764") == 0
    assert classes.index_of("n15075141") == 999
    assert classes.classes[0].name == "tench"
    assert classes.index_of("crane") is None, "two classes have this name: it says neither"


@pytest.mark.parametrize(
    "text",
    [
        "index\twnid\tname\n0\tn1\tcat\n1\tn2\tdog\n",
        "0\tn1\tcat\n1\tn2\tdog",
        "1\tn2\tdog\r\n0\tn1\tcat\r\n",
        "\ufeff0\tn1\tcat\n1\tn2\tdog\n\n",
        "n1 cat\nn2 dog\n",
    ],
)
def test_every_form_of_list_gives_the_same_classes(tmp_path: Path, text: str) -> None:
    classes = load_synsets(_file(tmp_path, text))
    assert [(c.index, c.wnid, c.name) for c in classes] == [(0, "n1", "cat"), (1, "n2", "dog")]


def test_a_list_in_utf_16_is_read(tmp_path: Path) -> None:
    classes = load_synsets(_file(tmp_path, "0\tn1\tmöwe\n".encode("utf-16")))
    assert classes.classes[0].name == "möwe"


def test_loc_synset_mapping_keeps_all_names(tmp_path: Path) -> None:
    classes = load_synsets(_file(tmp_path, "n01440764 tench, Tinca tinca\nn01443537 goldfish\n"))
    assert classes.classes[0].name == "tench, Tinca tinca"
    assert classes.index_of("n01443537") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no class"),
        ("0\tn1\tcat\n2\tn3\tdog\n", "none with the index 1"),
        ("0\tn1\tcat\n0\tn2\tdog\n", "the index 0 more than once"),
        ("0\tn1\tcat\n1\tn1\tdog\n", "the identifier n1 more than once"),
        ("0\tn1\tcat\nx\tn2\tdog\n", "line 2"),
        (b"\x89PNG\r\n\x1a\n\xff\xff", "not a text file"),
        (b"a\0b", "not a text file"),
    ],
)
def test_a_list_that_is_not_full_is_refused_with_the_place(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(DatasetError, match=said):
        load_synsets(_file(tmp_path, text))


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent\.tsv"):
        load_synsets(tmp_path / "absent.tsv")
