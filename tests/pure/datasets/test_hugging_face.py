"""What a Hugging Face data set says of its classes, and where they stand in a class list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.datasets.classes import SynsetList, imagenet, load_synsets
from harness.datasets.hugging_face import (
    Features,
    features_of_card,
    features_of_metadata,
    match_classes,
)
from harness.errors import DatasetError


def _list(folder: Path, *names: str) -> SynsetList:
    path = folder / "list.tsv"
    path.write_text("".join(f"{i}\tid-{i}\t{name}\n" for i, name in enumerate(names)))
    return load_synsets(path)


def test_features_are_read_from_a_files_metadata() -> None:
    features = {
        "img": {"_type": "Image"},
        "kind": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "width": {"dtype": "int32", "_type": "Value"},
    }
    found = features_of_metadata(json.dumps({"info": {"features": features}}))
    assert found == Features(("img",), (("kind", ("cat", "dog")),))
    assert found.names_of("kind") == ("cat", "dog")
    assert found.names_of("width") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"info": null}', '{"info": {"features": [1]}}', b"\xff\xfe"]
)
def test_other_metadata_say_nothing(text: str | bytes) -> None:
    assert features_of_metadata(text) == Features()


def test_features_are_read_from_a_card(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(
        "---\nlicense: other\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n"
        "  - name: label\n    dtype:\n      class_label:\n        names:\n"
        "          '1': dog\n          '0': cat\n---\n# A card\n"
    )
    assert features_of_card(card) == Features(("image",), (("label", ("cat", "dog")),))
    card.write_text("---\ndataset_info: [\n---\n")
    assert features_of_card(card) == Features()
    card.write_text("# No head\n")
    assert features_of_card(card) == Features()
    assert features_of_card(tmp_path / "absent.md") == Features()


def test_wordnet_ids_in_any_order_find_their_places() -> None:
    places, classes = match_classes(["n15075141", "n01440764 tench"], None, "x")
    assert places == (999, 0)
    assert classes == imagenet().classes


def test_names_are_known_by_the_first_of_several_and_in_any_spelling() -> None:
    names = ["great white shark, white shark", "Tench", "English_springer"]
    assert match_classes(names, None, "x")[0] == (2, 0, 217)


def test_the_full_list_of_imagenet_is_known_though_some_names_are_not_or_are_twice() -> None:
    names = [c.name.replace("_", " ") + ", another name" for c in imagenet()]
    names[0] = "doctor fish"
    places, classes = match_classes(names, None, "x")
    assert places == tuple(range(1000))
    assert classes == imagenet().classes


def test_the_full_list_in_another_order_is_refused_where_a_name_leaves_doubt() -> None:
    names = [c.name for c in reversed(imagenet().classes)]
    with pytest.raises(DatasetError, match=r"do not fit .*: maillot, maillot, crane and 1 more"):
        match_classes(names, None, "x")


def test_other_classes_are_the_data_sets_own_list() -> None:
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    places, classes = match_classes(names, None, "x")
    assert places == tuple(range(10))
    assert [(c.index, c.wnid, c.name) for c in classes[:2]] == [
        (0, None, "airplane"),
        (1, None, "automobile"),
    ]


def test_a_given_list_decides_and_must_have_every_class(tmp_path: Path) -> None:
    animals = _list(tmp_path, "dog", "cat", "cow")
    assert match_classes(["cat", "dog"], animals, "x") == ((1, 0), animals.classes)
    with pytest.raises(DatasetError, match=r"do not fit .*: horse"):
        match_classes(["cat", "horse"], animals, "x")
    with pytest.raises(DatasetError, match="two names for one class"):
        match_classes(["cat", "Cat"], animals, "x")
