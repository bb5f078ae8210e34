"""Wrong suffixes and files that are no models: what they are is said, with what to do."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.weights_files import HEAD, safetensors, torch_legacy, torch_zip

from harness.errors import ModelError
from harness.models.file_content import content_of
from harness.models.inspect import inspect_model

SUFFIXES = (
    *(".onnx", ".tflite", ".npz", ".pth", ".pt", ".bin", ".safetensors"),
    *(".keras", ".h5", ".hdf5", ".pb"),
)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 14211\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>404: Not Found</title></head></html>"


def _refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        inspect_model(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("content", "said", "remedy"),
    [
        (LFS, "it is a Git LFS pointer, not the model", "git lfs pull"),
        (PAGE, "it is a web page, not the model", "Download the model again"),
        (b"Entry not found", "it is a text file ('Entry not found')", "own file"),
        (b"", "it is empty", "again"),
        (gzip.compress(b"x" * 99, mtime=0), "it is compressed with gzip", "gunzip"),
        (b"PK\x03\x04" + bytes(64), "a zip archive without its end", "Copy or export"),
    ],
)
def test_what_is_no_model_is_called_by_its_name(
    tmp_path: Path, suffix: str, content: bytes, said: str, remedy: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    refusal = _refusal(path)
    assert said in refusal
    assert remedy in refusal
    assert f"{path} is truncated or not a" in refusal


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_with_a_garbled_list_of_parts_is_not_called_cut(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    _archive(path, "a.npy")
    content = bytearray(path.read_bytes())
    # The version of zip that a part needs: one that there is not.
    content[content.rindex(b"PK\x01\x02") + 6] = 255
    path.write_bytes(content)
    refusal = _refusal(path)
    assert "a zip archive whose list of parts is garbled" in refusal
    assert "cut" not in refusal


def _archive(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")


def _make(path: Path, kind: str) -> None:
    if kind == "npz":
        with path.open("wb") as stream:
            np.savez(stream, a=np.zeros(3))
    elif kind == "torch-zip":
        torch_zip(path, HEAD)
    elif kind == "pickle":
        torch_legacy(path, HEAD)
    elif kind == "safetensors":
        safetensors(path, HEAD)
    elif kind == "keras":
        _archive(path, "config.json", "metadata.json", "model.weights.h5")
    elif kind == "torch-script":
        _archive(path, "m/data.pkl", "m/constants.pkl", "m/code/__torch__.py")
    elif kind == "torch-program":
        _archive(path, "m/models/model.json", "m/archive_format")
    elif kind == "zip":
        _archive(path, "readme.txt")
    else:
        start = {
            "hdf5": b"\x89HDF\r\n\x1a\n",
            "tflite": b"\x1c\0\0\0TFL3",
            "npy": b"\x93NUMPY\x01\0",
            "gguf": b"GGUF\x03\0\0\0",
        }[kind]
        path.write_bytes(start + bytes(100))


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("npz", ".npz"),
        ("torch-zip", ".pth"),
        ("pickle", ".pth"),
        ("safetensors", ".safetensors"),
        ("keras", ".keras"),
        ("hdf5", ".h5"),
        ("tflite", ".tflite"),
    ],
)
def test_a_model_under_a_wrong_suffix_is_told_its_right_one(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    for wrong in SUFFIXES:
        path = tmp_path / f"weights{wrong}"
        _make(path, kind)
        assert content_of(path).kind == kind
        if wrong in {suffix, *((".pt", ".bin") if suffix == ".pth" else ())}:
            continue
        if (suffix, wrong) == (".h5", ".hdf5"):
            continue
        assert f"Rename it to weights{suffix}." in _refusal(path), wrong


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("torch-script", "a TorchScript program, not a state_dict"),
        ("npy", "a single NumPy array"),
        ("zip", "a zip archive that holds no model"),
        ("gguf", "a GGUF file"),
    ],
)
def test_what_cannot_be_read_is_told_apart_with_a_remedy(
    tmp_path: Path, kind: str, said: str
) -> None:
    path = tmp_path / "m.pt"
    _make(path, kind)
    refusal = _refusal(path)
    assert f"it is {said}" in refusal
    assert len(refusal.splitlines()) == 2, "what happened, and what to do"


@pytest.mark.parametrize("name", ["m.toml", "m.ckpt", "m"])
def test_other_suffixes_are_refused_saying_which_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\0\1\2")
    refusal = _refusal(path)
    assert "models are read from .onnx, .tflite, .npz, .pth" in refusal
    torch_zip(path, HEAD)
    assert "It looks like a file of PyTorch: name it with .pth." in _refusal(path)


def test_a_folder_that_is_no_savedmodel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").mkdir()
    assert "is a folder without saved_model.pb" in _refusal(tmp_path / "m.onnx")


def test_an_onnx_model_named_pb_is_told(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    path = tmp_path / "m.pb"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert "it is an ONNX model.\n  Rename it to end with .onnx" in _refusal(path)
