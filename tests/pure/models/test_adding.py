"""Adding a model: what is kept, what is refused, and that nothing is left behind."""

from __future__ import annotations

import errno
import os
import tomllib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.canonical import sha256_file
from harness.errors import ModelError, StoreError, UsageError
from harness.models.adding import add_model, remove_model
from harness.models.registry import find_checkpoint
from harness.models.verifying import verify
from harness.progress import SilentProgress


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def image_model(path, *, external=False, size=8):
    """`x` float32 [N, 3, size, size] -> `y` [N, 10]."""
    weights = np.arange(3 * size * size * 10, dtype=np.float32).reshape(-1, 10)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, location="w.data", size_threshold=0)
    return path


def weights_file(path, classes=7):
    arrays = {
        "fire2.squeeze.weight": np.ones((16, 64, 1, 1), np.float32),
        "conv10.weight": np.ones((classes, 512, 1, 1), np.float32),
    }
    np.savez(path, **arrays)
    return path


def test_a_model_is_kept_with_its_hash_size_and_classes(tmp_path, home):
    path = image_model(tmp_path / "net.onnx")
    added = add_model("net", {"path": str(path), "recipe": "tf", "licence": 'my "own"'})
    document = tomllib.loads((home / "net.toml").read_text())
    assert document == {
        "path": str(path),
        "recipe": "tf",
        "licence": 'my "own"',
        "format": "onnx",
        "sha256": sha256_file(path),
        "size_bytes": path.stat().st_size,
        "classes": 10,
    }
    assert added.file.inputs[0].shape == (None, 3, 8, 8)
    assert find_checkpoint("net") == added.entry
    assert [path.name for path in home.iterdir()] == ["net.toml"]


def test_weights_are_read_for_their_architecture(tmp_path):
    path = weights_file(tmp_path / "w.npz")
    entry = add_model("w", {"path": str(path), "architecture": "squeezenet1_1"}).entry
    assert (entry.architecture, entry.classes, entry.format) == ("squeezenet1_1", 7, "weights")


def test_a_taken_name_is_refused_until_it_is_replaced(tmp_path):
    first, second = image_model(tmp_path / "a.onnx"), image_model(tmp_path / "b.onnx", size=16)
    add_model("net", {"path": str(first)})
    with pytest.raises(ModelError, match="a model named net already") as caught:
        add_model("net", {"path": str(second)})
    assert "--replace" in caught.value.remedy
    assert find_checkpoint("net").path == first
    add_model("net", {"path": str(second)}, replace_old=True)
    assert find_checkpoint("net").path == second


@pytest.mark.parametrize("fault", ["missing", "cut", "recipe", "variant"])
def test_what_cannot_be_used_is_refused_and_nothing_is_left(tmp_path, home, fault):
    path = image_model(tmp_path / "net.onnx")
    described = {"path": str(path), "recipe": "tf"}
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:50])
    elif fault == "recipe":
        described["size"] = 224
    else:
        described["variant"] = {"padding": "same"}
    with pytest.raises(ModelError):
        add_model("net", described)
    assert list(home.iterdir()) == []


def test_a_copy_brings_the_files_beside_it_and_goes_with_it(tmp_path, home):
    source = tmp_path / "theirs"
    source.mkdir()
    path = image_model(source / "net.onnx", external=True)
    entry = add_model("net", {"path": str(path)}, copy=True).entry
    assert home / "files" / "net" in entry.path.parents
    assert sorted(one.name for one in entry.path.parent.iterdir()) == ["net.onnx", "w.data"]
    for one in source.iterdir():
        one.unlink()
    assert [one.state for one in verify([entry], SilentProgress(), asked=True)] == ["ok"]
    gone = remove_model("net")
    assert gone == (home / "net.toml", home / "files" / "net")
    assert list((home / "files").iterdir()) == []


def test_replacing_a_copy_removes_the_old_one(tmp_path, home):
    add_model("net", {"path": str(image_model(tmp_path / "a.onnx"))}, copy=True)
    other = image_model(tmp_path / "b.onnx", size=16)
    add_model("net", {"path": str(other)}, copy=True, replace_old=True)
    assert [one.name for one in (home / "files" / "net").rglob("*.onnx")] == ["b.onnx"]
    add_model("net", {"path": str(other)}, replace_old=True)
    assert not (home / "files" / "net").exists()
    assert find_checkpoint("net").path == other


def test_a_recipe_file_is_kept_spelled_out(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("divide = 2.0\nchannels = 'BGR'\n")
    path = image_model(tmp_path / "net.onnx")
    add_model("net", {"path": str(path), "recipe": str(recipe)})
    recipe.unlink()
    kept = find_checkpoint("net").recipe
    assert (kept.name, kept.divide, kept.channels) == ("r", 2.0, "BGR")


def test_removing_leaves_the_persons_own_file(tmp_path):
    path = image_model(tmp_path / "net.onnx")
    add_model("net", {"path": str(path)})
    remove_model("net")
    assert path.is_file()
    with pytest.raises(ModelError, match="No model named 'net' was added"):
        remove_model("net")


def test_verify_tells_a_changed_a_damaged_and_a_lost_file(tmp_path):
    path = image_model(tmp_path / "net.onnx")
    entry = add_model("net", {"path": str(path)}).entry

    def state():
        return verify([entry], SilentProgress(), asked=False)[0].state

    assert state() == "ok"
    image_model(path, size=16)
    assert state() == "changed"
    path.write_bytes(path.read_bytes()[:50])
    assert state() == "corrupted"
    path.unlink()
    assert state() == "missing"


def test_a_hash_that_is_stated_is_held_against_the_file(tmp_path, home):
    path = image_model(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="0" * 64) as caught:
        add_model("net", {"path": str(path), "sha256": "0" * 64})
    assert sha256_file(path) in caught.value.message
    assert list(home.iterdir()) == []
    assert add_model("net", {"path": str(path), "sha256": sha256_file(path)}).entry.path == path


def folded_mobilenet(path):
    """As many numbers as MobileNetV2 has before its classifier, and no batch norms."""
    arrays = {
        "blocks.0.depthwise.weight": np.zeros((2_189_760, 1), np.float32),
        "classifier.weight": np.zeros((1001, 20), np.float32),
    }
    np.savez_compressed(path, **arrays)
    return path


def test_a_variant_is_one_of_the_architecture_that_the_file_tells(tmp_path, home):
    path = folded_mobilenet(tmp_path / "w.npz")
    entry = add_model("w", {"path": str(path), "variant": {"padding": "same"}}).entry
    assert (entry.architecture, entry.variant) == ("mobilenet_v2", {"padding": "same"})
    with pytest.raises(ModelError, match="mobilenet_v2 has no variant 'paddding'"):
        add_model("v", {"path": str(path), "variant": {"paddding": "same"}})
    assert [one.name for one in home.iterdir()] == ["w.toml"]


def test_a_key_of_a_variant_cannot_write_into_the_description(tmp_path, home):
    path = weights_file(tmp_path / "w.npz")
    described = {"path": str(path), "architecture": "squeezenet1_1"}
    for key in ("a b", 'x"\nlicence = "stolen', "a\nb"):
        with pytest.raises(ModelError) as caught:
            add_model("w", {**described, "variant": {key: "1"}})
        assert "squeezenet1_1 has no variant" in caught.value.message
    assert list(home.iterdir()) == []


def test_keys_of_tables_are_quoted(tmp_path):
    from harness.models.adding import _write  # noqa: PLC0415

    _write(tmp_path / "x.toml", {"path": "m", "variant": {'a b"\nc = 1': "d"}})
    assert tomllib.loads((tmp_path / "x.toml").read_text()) == {
        "path": "m",
        "variant": {'a b"\nc = 1': "d"},
    }


def test_a_variant_of_a_whole_model_is_refused(tmp_path):
    path = image_model(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"net\.onnx is a whole model \(onnx\)"):
        add_model("net", {"path": str(path), "variant": {"padding": "same"}})


def test_an_architecture_that_there_is_not_is_refused_for_every_file(tmp_path):
    path = image_model(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="no architecture 'nonsense'"):
        add_model("net", {"path": str(path), "architecture": "nonsense"})
    entry = add_model("net", {"path": str(path), "architecture": "mobilenet_v2"}).entry
    assert entry.architecture == "mobilenet_v2"


def test_no_error_names_the_file_that_is_only_there_for_the_check(tmp_path):
    path = image_model(tmp_path / "net.onnx")
    with pytest.raises(
        ModelError, match="description of net does not describe a model at size"
    ) as c:
        add_model("net", {"path": str(path), "size": 3})
    assert ".net." not in str(c.value)


def test_a_path_that_is_no_text_is_to_be_changed(home):
    with pytest.raises(UsageError, match=r"b\\xff\.onnx is not valid UTF-8") as caught:
        add_model("net", {"path": os.fsdecode(b"/models/b\xff.onnx")})
    assert "Rename it" in caught.value.remedy
    assert not home.exists()


def test_copies_that_cannot_be_made_or_removed_are_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    path = image_model(tmp_path / "net.onnx")
    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", refuse)
        with pytest.raises(StoreError, match="Permission denied"):
            add_model("net", {"path": str(path)}, copy=True)
    add_model("net", {"path": str(path)}, copy=True)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", refuse)
        with pytest.raises(StoreError, match="Permission denied"):
            remove_model("net")


def test_a_folder_that_cannot_be_copied_whole_is_told(tmp_path):
    from harness.models.adding import _copy_tree  # noqa: PLC0415

    source = tmp_path / "source"
    source.mkdir()
    (source / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"Cannot copy .*lost"):
        _copy_tree(source, tmp_path / "target")
