"""Layouts: which images are found, and which ground truth they get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.datasets.classes import SynsetList, imagenet, load_synsets
from harness.datasets.layouts import Dataset, discover
from harness.errors import DatasetError

TENCH, GOLDFISH = "n01440764", "n01443537"


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def _labels(dataset: Dataset) -> dict[str, int | None]:
    return {item.path: item.label for item in dataset.items}


def _animals(folder: Path) -> SynsetList:
    path = folder / "animals.tsv"
    path.write_text("0\tcat\tcat\n1\tdog\tdog\n")
    return load_synsets(path)


def test_synset_folders_are_labelled_by_the_full_list_not_by_counting(tmp_path: Path) -> None:
    _touch(tmp_path, f"{GOLDFISH}/b.JPEG", "n15075141/c.jpeg")
    dataset = discover(tmp_path)
    assert dataset.layout == "synset-folders"
    assert _labels(dataset) == {f"{GOLDFISH}/b.JPEG": 1, "n15075141/c.jpeg": 999}
    assert dataset.classes == imagenet().classes


def test_synset_folders_are_found_at_any_depth_and_as_the_root(tmp_path: Path) -> None:
    _touch(tmp_path, f"val/{TENCH}/images/a.PNG")
    assert _labels(discover(tmp_path)) == {f"val/{TENCH}/images/a.PNG": 0}
    assert _labels(discover(tmp_path / "val" / TENCH)) == {"images/a.PNG": 0}


def test_a_wnid_outside_the_list_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, f"{TENCH}/a.JPEG", "n99999999/b.JPEG")
    with pytest.raises(DatasetError, match="n99999999"):
        discover(tmp_path)


def test_images_outside_class_folders_are_kept_without_label_and_said(tmp_path: Path) -> None:
    _touch(tmp_path, f"{TENCH}/a.JPEG", "stray.JPEG")
    dataset = discover(tmp_path)
    assert _labels(dataset) == {f"{TENCH}/a.JPEG": 0, "stray.JPEG": None}
    assert "stray.JPEG" in dataset.notes[0]


def test_plain_class_folders_are_unlabelled_with_a_note(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/a.png", "dog/b.png")
    dataset = discover(tmp_path)
    assert dataset.layout == "unlabelled"
    assert _labels(dataset) == {"cat/a.png": None, "dog/b.png": None}
    assert dataset.classes is None
    assert "--synsets" in dataset.notes[0]


def test_plain_class_folders_are_labelled_by_a_given_list(tmp_path: Path) -> None:
    data = _touch(tmp_path / "data", "dog/b.png")
    assert _labels(discover(data, _animals(tmp_path))) == {"dog/b.png": 1}


def test_plain_class_folders_outside_the_given_list_are_refused(tmp_path: Path) -> None:
    data = _touch(tmp_path / "data", "cow/b.png")
    with pytest.raises(DatasetError, match="cow"):
        discover(data, _animals(tmp_path))


def test_flat_images_are_unlabelled_and_every_suffix_is_found(tmp_path: Path) -> None:
    names = ["a.JPG", "b.jpeg", "c.Png", "d.webp", "e.bmp", "f.TIF", "g.tiff", "h.gif"]
    _touch(tmp_path, *names, "readme.txt", "list.csv")
    dataset = discover(tmp_path)
    assert [item.path for item in dataset.items] == names
    assert dataset.layout == "unlabelled"


@pytest.mark.parametrize(
    "text",
    [
        "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 999\n",
        "ILSVRC2012_val_00000001.JPEG n01751748\nILSVRC2012_val_00000002.JPEG n15075141\n",
        "\ufeffval/ILSVRC2012_val_00000001.JPEG 65\r\nval/ILSVRC2012_val_00000002.JPEG 999\r\n",
        "ILSVRC2012_val_00000001\t65\nILSVRC2012_val_00000002\t999\n",
        "./ILSVRC2012_val_00000002.JPEG   n15075141\n\n./ILSVRC2012_val_00000001.JPEG 65\n",
        "C:\\data\\ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 999\n",
    ],
)
@pytest.mark.parametrize("name", ["val_map.txt", "val.txt"])
def test_a_list_in_the_folder_labels_flat_files(tmp_path: Path, text: str, name: str) -> None:
    _touch(tmp_path, "ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG")
    (tmp_path / name).write_text(text, newline="")
    dataset = discover(tmp_path)
    assert dataset.layout == "labelled-files"
    assert [item.label for item in dataset.items] == [65, 999]
    assert dataset.classes == imagenet().classes
    assert dataset.notes == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", 'ImageId,PredictionString\na,"n01440764 10 20 30 40"\n"b, 2",n01443537\n'),
        ("l.tsv", "file\tlabel\na.png\t0\nb, 2.png\t1\n"),
        ("l.txt", "a.png 0\nb, 2.png 1\n"),
    ],
)
def test_comma_tab_and_space_lists_are_read(tmp_path: Path, name: str, text: str) -> None:
    data = _touch(tmp_path / "data", "a.png", "b, 2.png")
    (tmp_path / name).write_text(text)
    dataset = discover(data, labels=tmp_path / name)
    assert _labels(dataset) == {"a.png": 0, "b, 2.png": 1}


def test_a_given_list_wins_over_the_names_of_folders(tmp_path: Path) -> None:
    data = _touch(tmp_path / "data", f"{TENCH}/a.JPEG")
    listed = tmp_path / "mine.txt"
    listed.write_text("a.JPEG 7\n")
    assert _labels(discover(data, labels=listed)) == {f"{TENCH}/a.JPEG": 7}


def test_indices_without_a_class_list_stay_what_they_are(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png")
    (tmp_path / "val.txt").write_text("a.png 36\n")
    dataset = discover(tmp_path)
    assert _labels(dataset) == {"a.png": 36}
    assert dataset.classes is None


def test_names_without_a_file_and_files_without_a_name_are_said(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "val_map.txt").write_text("a.png 1\ngone.png 2\n")
    dataset = discover(tmp_path)
    assert _labels(dataset) == {"a.png": 1, "b.png": None, "c.png": None}
    assert any("gone.png" in note for note in dataset.notes)
    assert any("b.png, c.png" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ILSVRC2012_val_1.JPEG 1000\n", r"line 1: label '1000' is outside the list of 1000"),
        ("ILSVRC2012_val_1.JPEG 3\nx.JPEG n99999999\n", r"line 2: label 'n99999999'"),
        ("ILSVRC2012_val_1.JPEG -1\n", r"label '-1'"),
        ("ILSVRC2012_val_1.JPEG\n", r"line 1: .* has no name and label"),
        ("other.JPEG 3\n", "None of the 1 names"),
        ("ILSVRC2012_val_1.JPEG 3\nILSVRC2012_val_1.JPEG 4\n", "two labels, 3 and 4"),
        ("\n", "holds no label"),
    ],
)
def test_a_bad_list_is_refused_naming_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    _touch(tmp_path, "ILSVRC2012_val_1.JPEG")
    (tmp_path / "val_map.txt").write_text(text)
    with pytest.raises(DatasetError, match=said) as caught:
        discover(tmp_path)
    assert "val_map.txt" in str(caught.value)


def test_the_same_line_twice_is_no_conflict(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png")
    (tmp_path / "val.txt").write_text("a.png 1\na.png 1\n")
    assert _labels(discover(tmp_path)) == {"a.png": 1}


def test_a_name_that_several_images_have_must_be_a_path(tmp_path: Path) -> None:
    _touch(tmp_path, "x/a.png", "y/a.png")
    (tmp_path / "val.txt").write_text("a.png 1\n")
    with pytest.raises(DatasetError, match=r"x/a\.png, y/a\.png"):
        discover(tmp_path)
    (tmp_path / "val.txt").write_text("x/a.png 1\ny/a.png 2\n")
    assert _labels(discover(tmp_path)) == {"x/a.png": 1, "y/a.png": 2}


def test_unicode_spaces_and_newlines_in_names_survive(tmp_path: Path) -> None:
    names = ["été à la mer/ma photo 1.jpg", "日本/寿司.JPEG", "zwei\nzeilen.png"]
    _touch(tmp_path, *names)
    assert {item.path for item in discover(tmp_path).items} == set(names)


def test_a_name_that_is_not_utf_8_is_excluded_and_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png")
    try:
        with open(os.fsencode(tmp_path) + b"/b\xff.png", "wb") as stream:  # noqa: PTH123 - bytes
            stream.write(b"x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    dataset = discover(tmp_path)
    assert [item.path for item in dataset.items] == ["a.png"]
    assert dataset.excluded[0].name == "b\\xff.png"


def test_links_are_followed_once(tmp_path: Path) -> None:
    real = _touch(tmp_path / "elsewhere", "a.png")
    data = tmp_path / "data"
    data.mkdir()
    (data / "linked").symlink_to(real)
    (data / "loop").symlink_to(data)
    (data / "b.png").symlink_to(real / "a.png")
    (data / "broken.png").symlink_to(real / "none.png")
    assert [i.path for i in discover(data).items] == ["b.png", "broken.png", "linked/a.png"]


def test_hidden_files_are_passed_over_with_a_note(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "._a.png", ".cache/b.png")
    dataset = discover(tmp_path)
    assert [item.path for item in dataset.items] == ["a.png"]
    assert "1 image files" in dataset.notes[0]


def test_a_folder_without_images_a_file_and_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no image"):
        discover(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        discover(tmp_path / "absent")
    _touch(tmp_path, "a.png")
    with pytest.raises(DatasetError, match="is a file"):
        discover(tmp_path / "a.png")


@pytest.mark.parametrize("split", ["..", ".", "...", "", "../other", "a/b", "/tmp", "a\\b", "a\0"])
def test_a_split_does_not_lead_out_of_the_folder(tmp_path: Path, split: str) -> None:
    _touch(tmp_path, "a.png", "data/b.png", "other/c.png")
    with pytest.raises(DatasetError, match="no name of a split") as caught:
        discover(tmp_path / "data", split=split)
    assert "--split" in caught.value.remedy


def test_a_split_may_have_dots_in_its_name(tmp_path: Path) -> None:
    _touch(tmp_path, "val.2/a.png", "b.png")
    assert [item.path for item in discover(tmp_path, split="val.2").items] == ["a.png"]
