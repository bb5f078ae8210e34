"""The registry: what can be named, and what is said of a name that cannot."""

from __future__ import annotations

import pytest

from harness.errors import ModelError
from harness.models.registry import find_checkpoint, is_known, list_checkpoints


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    for name in ("TORCH_HOME", "KERAS_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_every_listed_checkpoint_is_found_by_its_name():
    entries = list_checkpoints()
    assert len(entries) == 39
    for entry in entries:
        assert find_checkpoint(entry.name) == entry
    assert {entry.origin for entry in entries} == {"pretrained", "seeded"}
    assert all(entry.path is None for entry in entries)


def test_libraries_lack_what_they_lack():
    names = {entry.name for entry in list_checkpoints()}
    assert "resnet101_v2@torchvision" not in names
    assert "vit_b_16@keras" not in names
    assert "squeezenet1_1@timm" not in names
    assert {"resnet101_v2@timm", "vit_b_16@timm", "squeezenet1_1@seeded"} <= names


def test_a_pretrained_checkpoint_carries_what_its_library_says():
    entry = find_checkpoint("resnet50@keras")
    assert (entry.format, entry.framework, entry.library) == ("keras_weights", "keras", "keras")
    assert (entry.classes, entry.class_offset, entry.output) == (1000, 0, "logits")
    assert entry.recipe.channels == "BGR"
    assert entry.recipe.mean == (103.939, 116.779, 123.68)
    assert entry.md5 == "2cb95161c43110f7111970584f804107"
    assert entry.accuracy.top1 == 74.9
    assert entry.origin_file.name == "resnet50.toml"


def test_weights_mean_the_network_that_they_were_trained_in():
    assert find_checkpoint("mobilenet_v2@torchvision").variant == {
        "padding": "symmetric",
        "batch_norm_epsilon": 1e-5,
        "activation": "relu6",
    }
    assert find_checkpoint("resnet50@timm").variant["stride"] == "second"
    assert find_checkpoint("resnet101_v2@seeded").variant["downsampling"] == "first"
    # timm's builder differs from torchvision's, which is the canonical one.
    epsilon = {
        key: find_checkpoint(f"mobilenet_v3_large@{key}").variant["batch_norm_epsilon"]
        for key in ("timm", "torchvision")
    }
    assert epsilon == {"timm": 1e-5, "torchvision": 1e-3}
    # Keras's own weights are put into Keras's own network alone.
    assert find_checkpoint("resnet50@keras").variant == {}


def test_seeded_weights_are_never_called_pretrained():
    entry = find_checkpoint("mobilenet_v2@seeded")
    assert entry.origin == "seeded"
    assert (entry.url, entry.accuracy, entry.path) == (None, None, None)
    assert "recognises nothing" in entry.note
    assert entry.recipe.name == "mobilenet_v2@seeded"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("resnet50", "which of its weights? There are resnet50@torchvision"),
        ("resnet50@tensorflow", "There are resnet50@torchvision, resnet50@torchvision-v1"),
        ("resnet5O@timm", "Did you mean resnet50@timm"),
        ("qqq", "`harness model list` shows all"),
    ],
)
def test_an_unknown_name_is_refused_with_what_there_is(name, remedy):
    with pytest.raises(ModelError, match="no checkpoint named") as caught:
        find_checkpoint(name)
    assert remedy in caught.value.remedy


def test_a_description_put_into_the_folder_is_found(folders):
    folder = folders / "home/models"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('path = "mine.onnx"\nrecipe = "tf"\n')
    entry = find_checkpoint("mine")
    assert entry.path == folder / "mine.onnx"
    assert entry.origin == "file"
    assert list_checkpoints()[-1] == entry
    with pytest.raises(ModelError) as caught:
        find_checkpoint("mien")
    assert "Did you mean mine" in caught.value.remedy


def test_a_name_is_known_without_its_description_being_read(folders):
    (folders / "home/models").mkdir(parents=True)
    (folders / "home/models/mine.toml").write_text("no toml at all")
    assert is_known("mine")
    assert is_known("mobilenet_v2@timm")
    assert is_known("mobilenet_v2@seeded")
    for name in ("mobilenet_v2", "mobilenet_v2@nobody", "nobody@seeded", "theirs"):
        assert not is_known(name)
