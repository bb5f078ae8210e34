"""`.npz` and `.safetensors` files: what is read from them, and what is refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.weights_files import safetensors

from harness.errors import ModelError
from harness.models.array_file import read_npz_tensors, read_safetensors
from harness.models.inspect import inspect_model


def _npz(path: Path, *, compressed: bool = False) -> Path:
    drawn = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)
    save = np.savez_compressed if compressed else np.savez
    save(path, a=drawn, b=np.arange(4), half=np.zeros((), np.float16))
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_names_dtypes_and_shapes_of_an_npz(tmp_path: Path, compressed: bool) -> None:
    tensors = read_npz_tensors(_npz(tmp_path / "m.npz", compressed=compressed))
    assert [(t.name, t.dtype, t.shape) for t in tensors] == [
        ("a", "float32", (5, 3, 2)),
        ("b", "int64", (4,)),
        ("half", "float16", ()),
    ]


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_cut_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    path = _npz(tmp_path / "m.npz", compressed=compressed)
    whole = path.read_bytes()
    for end in (*range(0, len(whole), 37), len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=r"truncated or not an \.npz file"):
            inspect_model(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_with_a_changed_byte_is_refused(tmp_path: Path, compressed: bool) -> None:
    path = _npz(tmp_path / "m.npz", compressed=compressed)
    garbled = bytearray(path.read_bytes())
    garbled[200] ^= 1
    path.write_bytes(garbled)
    with pytest.raises(ModelError, match="cut or garbled"):
        read_npz_tensors(path)


def test_an_npz_of_objects_is_refused_and_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, w=np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(ModelError, match="'w' holds Python objects, which would run code"):
        inspect_model(path)


def test_an_npz_of_words_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", names=np.array(["a", "bc"]))
    with pytest.raises(ModelError, match="'names' holds <U2, and weights are numbers"):
        inspect_model(tmp_path / "m.npz")


def _member(header: str, data: bytes = b"") -> bytes:
    raw = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (_member("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n"), "its shape needs"),
        (
            _member("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"),
            "its shape needs 4000000000",
        ),
        (
            _member("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -1), }\n", b"x" * 12),
            "shape",
        ),
        (_member("{'descr': '<f4'}\n"), "header of its array 'w' is garbled"),
        (_member("__import__('os').system('touch ran')\n"), "header of its array 'w' is garbled"),
        (b"\x93NUMPY\x09\x00", "NumPy's format"),
        (b"no array", "header of its array 'w' is garbled"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tmp_path: Path, member: bytes, said: str) -> None:
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", member)
    with pytest.raises(ModelError, match=said):
        inspect_model(path)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../w.npy", "would lie outside of it"),
        ("/etc/w.npy", "would lie outside of it"),
        ("..\\w.npy", "would lie outside of it"),
        ("readme.txt", "readme.txt, which are no arrays"),
    ],
)
def test_names_that_do_not_belong_into_an_npz_are_refused(
    tmp_path: Path, name: str, said: str
) -> None:
    path = _npz(tmp_path / "m.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ModelError, match=said):
        inspect_model(path)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = _npz(tmp_path / "m.npz")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", b"x")
    with pytest.raises(ModelError, match=r"two parts called 'a\.npy'"):
        inspect_model(path)


def test_an_archive_that_unfolds_without_proportion_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        held = io.BytesIO()
        np.save(held, np.zeros(20_000_000, np.float32))
        archive.writestr("w.npy", held.getvalue())
    assert path.stat().st_size < 400_000
    with pytest.raises(ModelError, match="would unfold to 80000"):
        inspect_model(path)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = _npz(tmp_path / "m.npz")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(ModelError, match=r"'a\.npy' is encrypted"):
        inspect_model(path)


def test_names_dtypes_and_shapes_of_safetensors(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [8, 14]},
        "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "n": {"dtype": "I64", "shape": [], "data_offsets": [14, 22]},
    }
    path = safetensors(tmp_path / "m.safetensors", {}, header, bytes(22))
    assert [(t.name, t.dtype, t.shape) for t in read_safetensors(path)] == [
        ("b", "bfloat16", (3,)),
        ("a", "float32", (2, 1)),
        ("n", "int64", ()),
    ]


def test_safetensors_cut_anywhere_are_refused(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "m.safetensors", {"a": (2, 3), "b": (4,)})
    whole = path.read_bytes()
    assert len(read_safetensors(path)) == 2
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not a safetensors file"):
            inspect_model(path)


def _about(begin: int = 0, end: int = 8, **changed: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [begin, end], **changed}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": _about(), "b": _about(4, 12)}, "'b' overlaps another"),
        ({"a": _about(), "b": _about(0, 8)}, "'b' overlaps another"),
        ({"a": _about(4, 12)}, "'a' has a gap before it"),
        ({"a": _about(0, 8, shape=[1 << 40])}, "'a' has 8 of 4398046511104 bytes"),
        ({"a": _about(0, 1 << 42, shape=[1 << 40])}, "ends at byte 4398046511104"),
        ({"a": _about(shape=[-1, -2])}, "'a' has sizes that make no sense"),
        ({"a": _about(shape=[True, 2])}, "'a' has sizes that make no sense"),
        ({"a": _about(dtype="F31")}, "says of the tensor 'a' is garbled"),
        ({"a": _about(data_offsets=[0])}, "says of the tensor 'a' is garbled"),
        ({"a": 3}, "says of the tensor 'a' is garbled"),
        ({"a": _about()}, "16 bytes behind its tensors are nobody's"),
        ({"__metadata__": {}}, "it holds no tensors"),
        (b'{"a": 1, "a": 2}', "names something twice"),
        (b'{"a": [', "its header is garbled"),
        (b'{"' + b"[" * 200_000, "its header is garbled"),
    ],
)
def test_safetensors_that_make_no_sense_are_refused(
    tmp_path: Path, header: object, said: str
) -> None:
    path = safetensors(tmp_path / "m.safetensors", {}, header, bytes(24))
    with pytest.raises(ModelError, match=said):
        inspect_model(path)


def test_a_header_as_long_as_it_likes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 90_000_000) + json.dumps({"a": _about()}).encode())
    with pytest.raises(ModelError, match="its header ends outside the file"):
        inspect_model(path)
