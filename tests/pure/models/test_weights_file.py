"""Files of weights: which architecture they belong to, and what that makes of them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.weights_files import HEAD, pickled, safetensors, state, text, torch_legacy, torch_zip

from harness.datasets.recipes import PRESETS, Recipe
from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, check_array, input_plan
from harness.models.inspect import inspect_model
from harness.models.model_file import ModelFile

# Few tensors with as many numbers as the architecture: names and shapes are made up.
SQUEEZENET = {"fire2.squeeze.weight": (719_552, 1), "conv10.weight": (9, 512, 1, 1)}
RESNET101 = {"layer1.0.conv1.weight": (42_394_816, 1), "fc.weight": (1000, 2048)}


def _npz(path: Path, shapes: Any) -> Path:
    np.savez(path, **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    return path


WRITERS: dict[str, Callable[[Path, Any], Path]] = {
    ".npz": _npz,
    ".pth": torch_zip,
    ".pt": torch_legacy,
    ".bin": torch_zip,
    ".safetensors": safetensors,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_container_gives_the_same_facts(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"m{suffix}", HEAD)
    file = inspect_model(path, "resnet50")
    assert (file.format, file.architecture, file.default_size) == ("weights", "resnet50", 224)
    assert [(t.name, t.dtype, t.shape) for t in file.tensors] == [
        ("fc.weight", "float32", (7, 2048)),
        ("fc.bias", "float32", (7,)),
    ]
    assert [(i.name, i.dtype, i.shape) for i in file.inputs] == [
        ("input", "float32", (None, 3, None, None))
    ]
    assert [(o.name, o.dtype, o.shape) for o in file.outputs] == [("logits", "float32", (None, 7))]
    assert file.size_bytes == path.stat().st_size


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_torch_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"m{suffix}", {"fc.weight": (7, 20), "fc.bias": (7,)})
    whole = path.read_bytes()
    assert inspect_model(path, "resnet50").outputs[0].shape == (None, 7)
    for end in (*range(0, len(whole), 11), len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not a PyTorch weights file"):
            inspect_model(path, "resnet50")


@pytest.mark.parametrize("write", [torch_zip, torch_legacy])
@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_wrapper_is_opened_and_a_shared_prefix_taken_off(
    tmp_path: Path, write: Callable[..., Path], wrapper: str
) -> None:
    shapes = {f"module._orig_mod.{name}": shape for name, shape in HEAD.items()}
    inner = state(shapes, legacy=write is torch_legacy)
    opcodes = pickled(b"}(" + text("epoch") + b"K\x03" + text(wrapper) + inner + b"u")
    file = inspect_model(write(tmp_path / "m.pth", shapes, opcodes), "resnet50")
    assert [tensor.name for tensor in file.tensors] == list(HEAD)


def test_a_storage_that_is_absent_or_short_is_told(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "m.pth", {"a": (3,)}, pickled(state({"a": (4,)})))
    with pytest.raises(ModelError, match="storage '0' has 12 of 16 bytes"):
        inspect_model(path)
    path = torch_zip(tmp_path / "m.pth", {}, pickled(state({"a": (4,)})))
    with pytest.raises(ModelError, match="numbers of its storage '0' are missing"):
        inspect_model(path)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    opcodes = pickled(state({"a": (4,)})).replace(
        b"J" + struct.pack("<i", 4) + b"tQ", b"J" + struct.pack("<i", 3) + b"tQ"
    )
    path = torch_zip(tmp_path / "m.pth", {"a": (3,)}, opcodes)
    with pytest.raises(ModelError, match=r"a tensor \[4\] is larger than its storage"):
        inspect_model(path)


@pytest.mark.parametrize(
    ("opcodes", "said"),
    [
        (pickled(b"K\x05"), "int values, and no state_dict"),
        (pickled(b"}(" + text("lr") + b"K\x01u"), r"no tensors \(its keys: lr\)"),
        (pickled(b"}"), r"no tensors \(its keys: none\)"),
        (
            pickled(b"}(" + text("w") + b"ctorch._utils\n_rebuild_qtensor\n)Ru"),
            "a quantised tensor called 'w', and no state_dict",
        ),
    ],
)
def test_torch_files_without_a_state_dict_are_told(
    tmp_path: Path, opcodes: bytes, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        inspect_model(torch_zip(tmp_path / "m.pth", {}, opcodes))


def test_a_pickle_of_another_library_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(pickled(b"}"))
    with pytest.raises(ModelError, match="a pickle that PyTorch did not write"):
        inspect_model(path)


def test_the_architecture_is_told_by_the_classifier_and_the_numbers_before_it(
    tmp_path: Path,
) -> None:
    file = inspect_model(_npz(tmp_path / "m.npz", SQUEEZENET))
    assert (file.architecture, file.outputs[0].shape) == ("squeezenet1_1", (None, 9))
    fewer = {**SQUEEZENET, "fire2.squeeze.weight": (719_551, 1)}
    with pytest.raises(ModelError, match="which architecture they belong to is not said") as caught:
        inspect_model(_npz(tmp_path / "m.npz", fewer))
    assert "holds 2 arrays (fire2.squeeze.weight, conv10.weight)" in str(caught.value)
    assert "Some are called as in squeezenet1_1." in str(caught.value)
    assert "--architecture NAME. Known: convnext_tiny, densenet121" in caught.value.remedy


def test_the_first_resnet101_does_not_pass_for_the_second(tmp_path: Path) -> None:
    header = {
        name: {"dtype": "F8_E5M2", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in RESNET101.items()
    }
    ends = {"layer1.0.conv1.weight": [0, 42_394_816], "fc.weight": [42_394_816, 44_442_816]}
    for name, end in ends.items():
        header[name]["data_offsets"] = end
    path = safetensors(tmp_path / "m.safetensors", {}, header)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + 44_442_816)
    with pytest.raises(ModelError, match="is not said"):
        inspect_model(path)
    assert inspect_model(path, "resnet101_v2").architecture == "resnet101_v2"


def test_an_unknown_architecture_is_refused_with_close_names(tmp_path: Path) -> None:
    path = _npz(tmp_path / "m.npz", HEAD)
    with pytest.raises(ModelError, match="no architecture 'resnet-5o'") as caught:
        inspect_model(path, "resnet-5o")
    assert "resnet50" in caught.value.remedy


@pytest.mark.parametrize("suffix", WRITERS)
def test_weights_without_their_classifier_are_refused(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"m{suffix}", {"conv1.weight": (4, 3, 7, 7)})
    with pytest.raises(ModelError, match=r"not the classifier of resnet50 \(fc\.weight\)"):
        inspect_model(path, "resnet50")


@pytest.mark.parametrize("shape", [(7,), (7, 20, 3, 3), (0, 20), (7, 20, 1)])
def test_a_classifier_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = _npz(tmp_path / "m.npz", {"fc.weight": shape})
    with pytest.raises(ModelError, match=r"should be \[classes, features\]"):
        inspect_model(path, "resnet50")


@pytest.mark.parametrize(
    ("architecture", "head", "size", "plain"),
    [
        ("resnet50", "fc.weight", None, 224),
        ("inception_v3", "fc.weight", None, 299),
        ("inception_v3", "fc.weight", 320, 320),
        ("vit_b_16", "heads.head.weight", None, 224),
    ],
)
def test_the_input_of_weights_takes_the_recipes_size_else_its_own(
    tmp_path: Path, architecture: str, head: str, size: int | None, plain: int
) -> None:
    file = inspect_model(_npz(tmp_path / "m.npz", {head: (7, 20)}), architecture)
    recipe = Recipe(name="mine", size=size) if size else PRESETS["torch"]
    plan = input_plan(Checkpoint("m", file, recipe))
    assert (plan.layout, plan.height, plan.width, plan.batch) == ("NCHW", plain, plain, None)
    check_array(Checkpoint("m", file), (5, 3, plain, plain), "float32")
    with pytest.raises(ModelError, match="does not fit"):
        check_array(Checkpoint("m", file), (5, plain, plain, 3), "float32")


def test_a_fixed_size_beats_the_recipes(tmp_path: Path) -> None:
    file = inspect_model(_npz(tmp_path / "m.npz", {"heads.head.weight": (7, 20)}), "vit_b_16")
    with pytest.raises(ModelError, match="256 pixels high"):
        input_plan(Checkpoint("m", file, Recipe(name="mine", size=256)))


def _hdf5(path: Path, *, version: int = 0, end: int = 400, more: bytes = b"") -> Path:
    undefined = (1 << 64) - 1
    if version < 2:
        frame = bytes([version, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0, 0, 0, 0, 0])
        frame += bytes(4 * version)
    else:
        frame = bytes([version, 8, 8, 0])
    places = struct.pack("<QQQQ", 0, undefined, end, undefined)
    raw = b"\x89HDF\r\n\x1a\n" + frame + places + more
    path.write_bytes(raw + bytes(400 - len(raw)))
    return path


def _keras_weights(path: Path) -> ModelFile:
    return inspect_model(path, "mobilenet_v2")


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_the_frame_of_an_hdf5_file_is_held_against_its_size(tmp_path: Path, version: int) -> None:
    path = _hdf5(tmp_path / "m.h5", version=version)
    file = _keras_weights(path)
    assert (file.format, file.architecture, file.tensors) == ("keras_weights", "mobilenet_v2", ())
    assert file.inputs[0].shape == (None, 3, None, None)
    assert file.outputs[0].shape == (None, None)
    assert input_plan(Checkpoint("m", file, PRESETS["tf"])).layout == "NCHW"
    whole = path.read_bytes()
    for end in (1, 8, 20, 47, 100, 399):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not an HDF5 file"):
            _keras_weights(path)


@pytest.mark.parametrize("changed", [{"version": 9}, {"end": 401}, {"end": (1 << 64) - 1}])
def test_an_hdf5_file_that_makes_no_sense_is_refused(tmp_path: Path, changed: Any) -> None:
    with pytest.raises(ModelError, match="truncated or not an HDF5 file"):
        _keras_weights(_hdf5(tmp_path / "m.h5", **changed))


def test_hdf5_without_an_architecture_is_asked_for_it_or_for_a_keras_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="which architecture its weights belong to") as caught:
        inspect_model(_hdf5(tmp_path / "m.h5"))
    assert "--architecture NAME" in caught.value.remedy
    with pytest.raises(ModelError, match="of a whole Keras model") as caught:
        inspect_model(_hdf5(tmp_path / "m.h5", more=b"model_config\0"))
    assert ".save('model.keras')" in caught.value.remedy


def test_an_architecture_that_keras_lacks_is_refused_for_hdf5(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"keras\.applications has no squeezenet1_1"):
        inspect_model(_hdf5(tmp_path / "m.h5"), "squeezenet1_1")
