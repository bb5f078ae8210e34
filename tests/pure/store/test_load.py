"""Finding cells and reading their answers back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.store_factory import StoreFactory, logits

from harness.errors import StoreError
from harness.execution.bundles import answers_folder, inputs_folder
from harness.store.load import find_cells, load_cell, same_images


def test_answers_come_back_with_names_labels_and_classes(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(3, [2, None, 0], classes=["ant", "bee", "cat"])
    x = logits(3, 3)
    found = load_cell(tmp_path, factory.cell(inputs, [x]))
    assert found.scores is not None
    assert np.array_equal(found.scores, x)
    assert found.labels.tolist() == [2, -1, 0]
    assert found.names == ("images/00000.png", "images/00001.png", "images/00002.png")
    assert found.images.classes == {0: "ant", 1: "bee", 2: "cat"}
    assert found.kind == "logits"


def test_1001_scores_are_read_in_the_space_of_1000_classes(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(4)
    x = logits(4, 1001)
    x[0, 0] = 99  # the background class is the best: it is no answer
    found = load_cell(tmp_path, factory.cell(inputs, [x], class_offset=1))
    assert found.scores is not None
    assert found.scores.shape == (4, 1000)
    assert np.array_equal(found.scores, x[:, 1:])


def test_a_class_offset_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(4), [logits(4, 3)], class_offset=0)
    other = factory.cell(factory.inputs(4), [logits(4, 3)], environment="e-2", class_offset=0)
    for cell in (key, other):
        path = answers_folder(tmp_path, cell) / "cell.json"
        text = path.read_text().replace('"class_offset": 0', '"class_offset": 3')
        assert len(text) == path.stat().st_size
        path.write_text(text)
    with pytest.raises(StoreError, match="class offset of 3"):
        load_cell(tmp_path, key)


def test_several_outputs_keep_the_order_of_the_model(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    boxes, x, count = logits(4, 8).reshape(4, 2, 4), logits(4, 5), np.arange(4)
    key = factory.cell(factory.inputs(4), [boxes, x, count], scores=1, names=["b", "s", "n"])
    found = load_cell(tmp_path, key)
    assert [o.name for o in found.others] == ["b", "n"]
    assert [a.shape for a in found.outputs] == [(4, 2, 4), (4, 5), (4,)]


def test_a_damaged_bundle_is_refused_with_the_remedy(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(4), [logits(4, 5)])
    factory.damage(key)
    with pytest.raises(StoreError, match=r"logits\.npy") as caught:
        load_cell(tmp_path, key)
    assert "next sweep" in caught.value.remedy
    assert find_cells(tmp_path) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(4), [logits(4, 5)])
    path = answers_folder(tmp_path, key) / "logits.npy"
    moved = tmp_path / "elsewhere.npy"
    path.rename(moved)
    path.symlink_to(moved)
    with pytest.raises(StoreError):
        load_cell(tmp_path, key)


def test_a_manifest_that_is_no_manifest_is_damage_and_not_a_crash(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(4), [logits(4, 5)])
    (answers_folder(tmp_path, key) / "manifest.json").write_text('{"files": {"cell.json": 3}}')
    with pytest.raises(StoreError, match="not a whole bundle"):
        load_cell(tmp_path, key)


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(4)
    key = factory.cell(inputs, [logits(4, 5)])
    (inputs_folder(tmp_path, inputs) / "images.parquet").unlink()
    with pytest.raises(StoreError, match=r"images\.parquet"):
        load_cell(tmp_path, key)


def test_cells_are_found_by_key_environment_backend_and_model(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(4)
    a = factory.cell(inputs, [logits(4, 5)], environment="onnxruntime-1.25.1")
    b = factory.cell(inputs, [logits(4, 5)], environment="torch-2.13", backend="torch.eager")
    c = factory.cell(inputs, [logits(4, 5)], environment="torch-2.13", backend="torch.compile")
    control = factory.cell(inputs, [logits(4, 5)], environment="torch-2.13", role="control")

    def keys(selector: str | None = None, **options: object) -> set[str]:
        return {r.key for r in find_cells(tmp_path, selector, **options)}  # type: ignore[arg-type]

    assert keys() == {a, b, c}
    assert keys(controls=True) == {a, b, c, control}
    assert keys(a[:8]) == {a}
    assert keys(control[:8]) == {control}
    assert keys("onnxruntime==1.25.1") == {a}
    assert keys("torch-2.13") == {b, c}
    assert keys("torch-2.13/torch.eager") == {b}
    with pytest.raises(StoreError, match=r"torch-2\.13"):
        keys("torch-2")
    with pytest.raises(StoreError, match="of model other"):
        keys("torch-2.13", model="other")


def test_images_are_the_same_by_key_or_by_hashes(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    keys = [
        factory.inputs(4),
        factory.inputs(4, salt="another size"),
        factory.inputs(4, seed="other images"),
    ]
    images = [load_cell(tmp_path, factory.cell(k, [logits(4, 5)])).images for k in keys]
    assert same_images(images[0], images[1])
    assert not same_images(images[0], images[2])


def test_an_absent_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results folder"):
        find_cells(tmp_path / "nothing")


def test_labels_may_be_those_of_another_sweep(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(3), [logits(3, 3)])
    labelled = factory.inputs(3, [2, 1, 0])
    assert load_cell(tmp_path, key).labels.tolist() == [-1, -1, -1]
    found = load_cell(tmp_path, key, labelled)
    assert found.labels.tolist() == [2, 1, 0]
    assert found.cell["inputs_key"] == found.images.key == labelled


def test_an_image_or_interpreter_is_found_by_its_whole_name(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(4)
    names = ("image:some/place/torch:2", "python:/opt/bin/python", "python:/opt")
    keys = {n: factory.cell(inputs, [logits(4, 5)], environment=n) for n in names}
    for name, key in keys.items():
        assert [r.key for r in find_cells(tmp_path, name)] == [key]
        assert [r.key for r in find_cells(tmp_path, f"{name}/onnxruntime")] == [key]


def test_executors_of_one_environment_are_told_apart_as_they_are_printed(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(4)
    keys = [factory.cell(inputs, [logits(4, 5)], executor=place) for place in ("venv", "docker")]
    name = "onnxruntime-1.17"
    assert {r.key for r in find_cells(tmp_path, name)} == set(keys)
    for place, key in zip(("venv", "docker"), keys, strict=True):
        assert [r.key for r in find_cells(tmp_path, f"{name}, {place}")] == [key]
        assert [r.key for r in find_cells(tmp_path, f"{name}/onnxruntime, {place}")] == [key]
    with pytest.raises(StoreError, match=f"there are: {name}, (venv|docker); {name}, "):
        find_cells(tmp_path, f"{name}, slurm")


def test_a_name_that_says_no_settings_finds_the_cell_that_bears_it(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(4)
    of = [{"same": 1, "level": "all"}, {"same": 1}]
    keys = [factory.cell(inputs, [logits(4, 5)], settings=settings) for settings in of]
    assert [r.key for r in find_cells(tmp_path, "onnxruntime-1.17, no settings")] == keys[1:]
    assert [r.key for r in find_cells(tmp_path, "onnxruntime-1.17, level=all")] == keys[:1]
