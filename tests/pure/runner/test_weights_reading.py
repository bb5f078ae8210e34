"""Weights files are read whole, refused with what is in them, and never run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import weights_files as made

from runner.errors import RunnerError
from runner.support import weights_file, weights_values
from runner.support.weights_writer import write_npz

SHAPES = {"features.0.weight": (4, 3, 2, 2), "features.0.bias": (4,), "scalar": ()}


def refused(path: Path) -> str:
    with pytest.raises(RunnerError) as caught:
        weights_file.read(str(path))
    assert caught.value.kind == "model"
    assert str(path) in caught.value.message
    return caught.value.message


class Call:
    """Pickles as a call of a function, by its global name."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


def filled(path: Path, values: np.ndarray) -> Path:
    """A `state_dict` in PyTorch's zip format with one tensor `w`, float32 [2, 3]."""
    pickled = made.pickled(made.state({"w": (2, 3)}))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", values.astype("<f4").tobytes())
    return path


@pytest.mark.parametrize("write", [made.torch_zip, made.torch_legacy, made.safetensors])
def test_each_format_gives_the_arrays_in_order(tmp_path: Path, write: Any) -> None:
    arrays = weights_file.read(str(write(tmp_path / "weights.pth", SHAPES)))
    assert {name: array.shape for name, array in arrays.items()} == SHAPES
    assert list(arrays) == list(SHAPES)
    assert all(array.dtype == np.float32 and not array.any() for array in arrays.values())


def test_values_and_strides_of_a_tensor_are_kept(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    read = weights_file.read(str(filled(tmp_path / "w.pth", values)))
    assert read["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    # The same storage, seen as a transpose: strides (1, 2) instead of (3, 1).
    pickled = made.pickled(made.state({"w": (2, 3)}))
    turned = pickled.replace(
        made.number(3) + made.number(1) + b"t", made.number(1) + made.number(2) + b"t"
    )
    assert turned != pickled
    with zipfile.ZipFile(tmp_path / "t.pth", "w") as archive:
        archive.writestr("archive/data.pkl", turned)
        archive.writestr("archive/data/0", values.tobytes())
    assert weights_file.read(str(tmp_path / "t.pth"))["w"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_big_endian_files_are_turned_round(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", made.pickled(made.state({"w": (2,)})))
        archive.writestr("archive/byteorder", "big")
        archive.writestr("archive/data/0", np.array([1.5, -2.0], ">f4").tobytes())
    assert weights_file.read(str(path))["w"].tolist() == [1.5, -2.0]


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = b'{"w":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    path.write_bytes(
        struct.pack("<Q", len(header)) + header + struct.pack("<3H", 0x3F80, 0xC040, 0)
    )
    read = weights_file.read(str(path))["w"]
    assert (read.dtype, read.tolist()) == (np.float32, [1.0, -3.0, 0.0])


def test_npz_keeps_dtypes_and_scalars_and_order(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    column = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez_compressed(path, b=column, a=np.float16(2.5), n=np.array([7]))
    read = weights_file.read(str(path))
    assert [(name, array.dtype.name, array.shape) for name, array in read.items()] == [
        ("b", "float64", (2, 3)),
        ("a", "float16", ()),
        ("n", "int64", (1,)),
    ]
    assert read["b"].tolist() == column.tolist()
    assert read["b"].flags.c_contiguous


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, key: str) -> None:
    inner = made.state({"module.fc.weight": (2, 3), "module.fc.bias": (2,)})
    wrapped = made.pickled(
        b"}(" + made.text("epoch") + made.number(3) + made.text(key) + inner + b"u"
    )
    shapes = {"fc.weight": (2, 3), "fc.bias": (2,)}
    read = weights_file.read(str(made.torch_zip(tmp_path / "w.pth", shapes, wrapped)))
    assert {name: array.shape for name, array in read.items()} == shapes


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    shapes = {"module.a": (1,), "b": (1,)}
    assert list(weights_file.read(str(made.torch_zip(tmp_path / "w.pth", shapes)))) == list(shapes)


def test_an_npz_that_is_written_twice_is_the_same_to_the_byte(tmp_path: Path) -> None:
    arrays = {"z.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.float32(1.5)}
    for name in ("one.npz", "two.npz"):
        write_npz(str(tmp_path / name), arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = weights_file.read(str(tmp_path / "one.npz"))
    assert list(read) == ["z.weight", "a"]
    assert read["z.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("kind", ["bare", "zip", "legacy"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_named(
    tmp_path: Path, protocol: int, kind: str
) -> None:
    touched, path = tmp_path / "touched", tmp_path / "bad.pth"
    bad = pickle.dumps({"w": Call(os.system, f"touch {touched}")}, protocol=protocol)
    if kind == "bare":
        path.write_bytes(bad)
    else:
        write = made.torch_zip if kind == "zip" else made.torch_legacy
        write(path, {"w": (2,)}, bad)
    said = refused(path)
    assert f"calls {os.system.__module__}.system" in said
    assert "wants to run code" in said
    assert "was not loaded" in said
    assert "torch.save(model.state_dict(), path)" in said
    assert not touched.exists()


@pytest.mark.parametrize(
    "name", ["builtins\neval", "builtins\ngetattr", "torch\nload", "collections\ndefaultdict"]
)
def test_only_what_a_state_dict_is_made_of_is_known(tmp_path: Path, name: str) -> None:
    path = made.torch_zip(tmp_path / "w.pth", {}, made.pickled(b"c" + name.encode() + b"\n"))
    assert f"calls {name.replace(chr(10), '.')}" in refused(path)


def test_what_a_pickle_may_call_can_not_be_changed_by_it(tmp_path: Path) -> None:
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    state = b"(N}(" + made.text("__defaults__") + b"(tut"
    path = made.torch_zip(tmp_path / "w.pth", {}, made.pickled(function + state + b"b"))
    assert "assigns to '__defaults__' of a function" in refused(path)


@pytest.mark.parametrize(
    "name", ["torch.nn.modules.conv\nConv2d", "torchvision.models.resnet\nResNet"]
)
def test_a_whole_module_is_told_from_a_state_dict(tmp_path: Path, name: str) -> None:
    path = made.torch_zip(tmp_path / "w.pth", {}, made.pickled(b"c" + name.encode() + b"\n)\x81"))
    said = refused(path)
    assert "holds a whole module, not a state_dict" in said
    assert name.replace("\n", ".") in said


def test_a_module_of_ones_own_is_told_by_the_layers_in_it(tmp_path: Path) -> None:
    body = b"cmine\nNet\n)\x81ctorch.nn.modules.conv\nConv2d\n"
    said = refused(made.torch_zip(tmp_path / "w.pth", {}, made.pickled(body)))
    assert "holds a whole module, not a state_dict: it needs mine.Net" in said


@pytest.mark.parametrize("write", [made.torch_zip, made.torch_legacy, made.safetensors])
def test_no_part_of_a_file_is_taken_for_the_whole(tmp_path: Path, write: Any) -> None:
    whole = write(tmp_path / "whole.pth", SHAPES).read_bytes()
    part = tmp_path / "part.pth"
    for length in range(0, len(whole), 11):
        part.write_bytes(whole[:length])
        assert "download or save it again" in refused(part)


def test_a_damaged_npz_is_refused_wherever_it_is_damaged(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.arange(40.0))
    whole = buffer.getvalue()
    start = whole.index(np.arange(40.0).tobytes())
    for place in range(start, start + 320, 16):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        (tmp_path / "w.npz").write_bytes(changed)
        assert "cut short or damaged" in refused(tmp_path / "w.npz")


def test_an_archive_that_would_unpack_to_far_more_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.npz"
    np.savez_compressed(path, w=np.zeros(10**6, np.float32))
    assert weights_file.read(str(path))["w"].shape == (10**6,)
    monkeypatch.setattr(weights_values, "_ALWAYS_FINE_BYTES", 10**6)
    said = refused(path)
    assert f"unpack {path.stat().st_size} bytes to 4000128" in said
    assert "not loaded" in said


def test_an_array_that_claims_to_be_larger_than_it_is_takes_no_memory(tmp_path: Path) -> None:
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (2**40,)}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("w.npy", header.getvalue())
    assert "says that it is (1099511627776,) of float32" in refused(tmp_path / "w.npz")


def test_a_tensor_that_reaches_out_of_its_storage_is_refused(tmp_path: Path) -> None:
    one = made.tensor("0", (1000, 1000), elements=4)
    pickled = made.pickled(b"}(" + made.text("w") + one + b"u")
    path = made.torch_zip(tmp_path / "w.pth", {"w": (4,)}, pickled)
    assert "larger than its storage" in refused(path)


def test_a_memo_that_would_take_memory_for_nothing_is_refused(tmp_path: Path) -> None:
    body = made.pickled(b"}r" + struct.pack("<I", 2**31 - 1))
    path = made.torch_zip(tmp_path / "w.pth", {}, body)
    assert "memo" in refused(path)


def test_objects_in_an_npz_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=np.array([Call(os.getcwd)], dtype=object))
    assert "'w' holds pickled objects, which are not loaded" in refused(tmp_path / "w.npz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x93NUMPY\x01\x00" + bytes(64), "numpy.savez"),
        (b"nothing that is known", "no weights file that is known here"),
    ],
)
def test_what_is_no_weights_file_is_told_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "weights.bin.part"
    path.write_bytes(content)
    assert said in refused(path)


def test_a_file_that_is_absent_is_told(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "gone.npz")


def test_a_torchscript_program_and_a_dict_without_arrays_are_told(tmp_path: Path) -> None:
    path = made.torch_zip(tmp_path / "w.pth", {"w": (1,)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    assert "TorchScript" in refused(path)
    empty = made.pickled(b"}(" + made.text("epoch") + made.number(3) + b"u")
    assert "its keys: epoch" in refused(made.torch_zip(tmp_path / "e.pth", {}, empty))
