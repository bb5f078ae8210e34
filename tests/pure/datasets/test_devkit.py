"""The development kit's ground truth: its own order of ids, through meta.mat, never by counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from harness.datasets.classes import imagenet, load_synsets
from harness.datasets.devkit import read_meta
from harness.datasets.layouts import Dataset, discover
from harness.errors import DatasetError

KIT = "ILSVRC2012_devkit_t12"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
# The kit's order is not the sorted one: id 1 is class 250, id 2 class 0, and so on.
ORDER = ["n02110185", "n01440764", "n15075141", "n01443537"]


def _image(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def _images(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def _meta(path: Path, rows: list[tuple[int, str, int]]) -> None:
    """A file of the real structure: a struct array [n, 1] of ids, WordNet ids, words, children."""
    kinds = [
        (name, object)
        for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")
    ]
    synsets = np.zeros((len(rows), 1), dtype=kinds)
    for place, (identifier, wnid, children) in enumerate(rows):
        synsets[place, 0] = (
            np.array([[identifier]], dtype=np.uint16),
            wnid,
            f"words of {wnid}",
            "a gloss",
            np.array([[children]], dtype=np.uint8),
            np.zeros((1, 0)),
        )
    scipy.io.savemat(path, {"synsets": synsets})


def _kit(folder: Path, truth: str = "3\n1\n4\n2\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TRUTH).write_text(truth)
    above = [(5, "n00001740", 3), (6, "n00002684", 4)]
    _meta(folder / "meta.mat", [(i + 1, w, 0) for i, w in enumerate(ORDER)] + above)
    return folder


def _labels(dataset: Dataset) -> dict[str, int | None]:
    return {item.path: item.label for item in dataset.items}


TRUE = {_image(1): 999, _image(2): 250, _image(3): 1, _image(4): 0}


@pytest.mark.parametrize(
    "where",
    ["data", f"data/{KIT}/data", KIT + "/data", f"{KIT}/{KIT}/data", f"../{KIT}/data"],
)
def test_the_kit_is_found_in_below_beside_and_above_the_images(tmp_path: Path, where: str) -> None:
    base = tmp_path / "imagenet"
    data = _images(base / "data", *TRUE)
    _kit((base / where).resolve())
    dataset = discover(data)
    assert dataset.layout == "devkit"
    assert _labels(dataset) == TRUE
    assert dataset.classes == imagenet().classes
    assert dataset.notes == ()


def test_the_number_in_the_name_counts_not_the_place_in_the_folder(tmp_path: Path) -> None:
    data = _images(tmp_path / "some", f"deep/{_image(4)}", f"deep/er/{_image(2)}")
    _kit(tmp_path / KIT / "data")
    assert _labels(discover(data)) == {f"deep/{_image(4)}": 0, f"deep/er/{_image(2)}": 250}


def test_the_kit_is_given_by_the_list_of_labels(tmp_path: Path) -> None:
    data = _images(tmp_path / "far" / "away" / "from" / "it", *TRUE)
    kit = _kit(tmp_path / "kit")
    assert _labels(discover(data, labels=kit / TRUTH)) == TRUE
    assert _labels(discover(data, labels=kit / TRUTH, layout="devkit")) == TRUE


def test_without_meta_the_numbers_are_refused_and_it_is_said_where_meta_is(tmp_path: Path) -> None:
    data = _images(tmp_path, *TRUE)
    (_kit(tmp_path) / "meta.mat").unlink()
    with pytest.raises(DatasetError, match="own ids") as caught:
        discover(data)
    assert "not class indexes" in caught.value.message
    assert "ILSVRC2012_devkit_t12.tar.gz" in caught.value.remedy


def test_a_class_list_in_the_sorted_order_is_not_taken_for_the_kits(tmp_path: Path) -> None:
    data = _images(tmp_path, *TRUE)
    (_kit(tmp_path) / "meta.mat").unlink()
    (tmp_path / "synsets.tsv").write_text("index\twnid\tname\n1\tn01443537\tgoldfish\n")
    with pytest.raises(DatasetError, match="own ids"):
        discover(data)
    lines = "".join(f"{i + 1}\t{w}\n" for i, w in enumerate(ORDER))
    (tmp_path / "synsets.tsv").write_text("ILSVRC2012_ID\tWNID\n" + lines)
    assert _labels(discover(data)) == TRUE


def test_lines_of_wordnet_ids_need_no_kit(tmp_path: Path) -> None:
    data = _images(tmp_path / "data", _image(2), _image(1))
    listed = tmp_path / "imagenet_2012_validation_synset_labels.txt"
    listed.write_text("n15075141\nn01440764\n")
    assert _labels(discover(data, labels=listed)) == {_image(1): 999, _image(2): 0}


def test_folders_of_wordnet_ids_and_lists_of_names_come_before_the_kit(tmp_path: Path) -> None:
    data = _images(tmp_path / "val", f"n01440764/{_image(1)}")
    _kit(tmp_path / KIT / "data")
    assert _labels(discover(data)) == {f"n01440764/{_image(1)}": 0}
    flat = _images(tmp_path / "flat", _image(1))
    (flat / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01443537 1 2 3 4 \n"
    )
    assert _labels(discover(flat)) == {_image(1): 1}


def test_images_without_a_number_are_kept_without_label_and_said(tmp_path: Path) -> None:
    data = _images(tmp_path, _image(1), "mine.png")
    _kit(tmp_path)
    dataset = discover(data)
    assert _labels(dataset) == {_image(1): 999, "mine.png": None}
    assert "mine.png" in dataset.notes[0]


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ("3\n1\n", r"val_00000003\.JPEG is validation image 3, but .* has 2 lines"),
        ("3\n1\n4\n0\n", r"line 4: there is no class with the ILSVRC2012_ID 0"),
        ("3\n1\n5\n2\n", r"line 3: there is no class with the ILSVRC2012_ID 5"),
        ("3\nx\n4\n2\n", r"line 2: 'x' is no ILSVRC2012_ID"),
        ("3\n\n4\n2\n", r"line 2: '' is no ILSVRC2012_ID"),
    ],
)
def test_bad_lines_are_refused_with_their_place(tmp_path: Path, truth: str, said: str) -> None:
    data = _images(tmp_path, *TRUE)
    _kit(tmp_path, truth)
    with pytest.raises(DatasetError, match=said):
        discover(data)


def test_a_class_of_the_kit_outside_the_given_list_is_named(tmp_path: Path) -> None:
    data = _images(tmp_path / "data", _image(1))
    kit = _kit(tmp_path / "kit")
    (tmp_path / "few.tsv").write_text("0\tn01440764\ttench\n")
    with pytest.raises(DatasetError, match="n15075141 is not in the class list"):
        discover(data, load_synsets(tmp_path / "few.tsv"), kit / TRUTH)


def test_ground_truth_for_images_of_other_names_is_refused(tmp_path: Path) -> None:
    data = _images(tmp_path / "data", "a.JPEG")
    with pytest.raises(DatasetError, match="labels images by number") as caught:
        discover(data, labels=_kit(tmp_path / "kit") / TRUTH)
    assert "'a.JPEG'" in caught.value.message


def test_validation_images_that_nothing_labels_say_what_to_unpack(tmp_path: Path) -> None:
    data = _images(tmp_path / "val", *TRUE)
    (tmp_path / f"{KIT}.tar.gz").write_bytes(b"")
    dataset = discover(data)
    assert dataset.layout == "unlabelled"
    assert f"unpack {tmp_path / KIT}.tar.gz" in dataset.notes[0]
    with pytest.raises(DatasetError, match="neither in"):
        discover(data, layout="devkit")


def test_meta_gives_the_classes_and_leaves_what_is_above_them(tmp_path: Path) -> None:
    assert read_meta(_kit(tmp_path) / "meta.mat") == dict(enumerate(ORDER, start=1))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(1, "n01440764", 0), (3, "n01443537", 0)], "ids 1 to 2, each once"),
        ([(1, "n01440764", 0), (1, "n01443537", 0)], "ids 1 to 2, each once"),
        ([(1, "n01440764", 0), (2, "n01440764", 0)], "ids 1 to 2, each once"),
        ([(1, "n01440764", 7)], "each once"),
        ([(1, "tench", 0)], "'tench', which is no WordNet id"),
    ],
)
def test_a_meta_with_gaps_or_doubles_is_refused(
    tmp_path: Path, rows: list[tuple[int, str, int]], said: str
) -> None:
    _meta(tmp_path / "meta.mat", rows)
    with pytest.raises(DatasetError, match=said):
        read_meta(tmp_path / "meta.mat")


@pytest.mark.parametrize("cut", [0, 60, 200, 500])
def test_a_damaged_meta_is_refused(tmp_path: Path, cut: int) -> None:
    path = _kit(tmp_path) / "meta.mat"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DatasetError, match=r"is not the development kit.s meta\.mat"):
        read_meta(path)
    scipy.io.savemat(path, {"other": np.ones(3)})
    with pytest.raises(DatasetError, match=r"is not the development kit.s meta\.mat"):
        read_meta(path)
