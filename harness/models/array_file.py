"""Named arrays in `.npz` and `.safetensors` files: headers are read, and sizes held against them."""

from __future__ import annotations

import json
import math
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ModelError
from harness.models.model_file import TensorSpec, listed, not_whole
from harness.models.zip_archive import Archive, open_archive

_NPZ = "an .npz"
_SAFETENSORS = "a safetensors"
_NPY_HEADER_BYTES = 1 << 16
_MOST_HEADER_BYTES = 100_000_000
_NUMBERS = "fiubc"
_DTYPES = {
    "F64": ("float64", 64),
    "F32": ("float32", 32),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "I64": ("int64", 64),
    "I32": ("int32", 32),
    "I16": ("int16", 16),
    "I8": ("int8", 8),
    "U64": ("uint64", 64),
    "U32": ("uint32", 32),
    "U16": ("uint16", 16),
    "U8": ("uint8", 8),
    "BOOL": ("bool", 8),
}


def read_npz_tensors(path: Path) -> tuple[TensorSpec, ...]:
    """The arrays of an `.npz` file. Every byte is held against its checksum; nothing is unpickled.

    Raises:
        ModelError: not a whole archive, something in it that is no array of numbers, or an array
            of another length than its shape.
    """
    with open_archive(path, _NPZ) as archive:
        others = [name for name in archive.members if not name.endswith(".npy")]
        if others:
            raise not_whole(path, _NPZ, f"it holds {listed(others)}, which are no arrays")
        if not archive.members:
            raise not_whole(path, _NPZ, "it holds no arrays")
        tensors = tuple(_npy(archive, name) for name in archive.members)
        archive.check_content()
    return tensors


def _npy(archive: Archive, member: str) -> TensorSpec:
    path, name = archive.path, member.removesuffix(".npy")
    size_bytes = archive.members[member].file_size
    stream = BytesIO(archive.begin(member, _NPY_HEADER_BYTES))
    try:
        version = np.lib.format.read_magic(stream)
        readers: dict[tuple[int, int], Any] = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise not_whole(path, _NPZ, f"its array {name!r} has NumPy's format {version}")
        shape, _, dtype = readers[version](stream)
    # NumPy reads the header as a Python literal: a garbled one fails in one of these ways.
    except (ValueError, EOFError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise not_whole(path, _NPZ, f"the header of its array {name!r} is garbled") from error
    if dtype.hasobject:
        raise ModelError(
            f"{path}: the array {name!r} holds Python objects, which would run code when they are "
            "loaded: it was not opened.",
            "Save arrays of numbers: numpy.savez(path, **{name: array.astype('float32')}).",
        )
    if dtype.kind not in _NUMBERS:
        raise ModelError(
            f"{path}: the array {name!r} holds {dtype}, and weights are numbers.",
            "Save arrays of numbers only: numpy.savez(path, **arrays).",
        )
    needed = stream.tell() + math.prod(shape) * dtype.itemsize
    if any(size < 0 for size in shape) or needed != size_bytes:
        raise not_whole(
            path, _NPZ, f"its array {name!r} has {size_bytes} bytes and its shape needs {needed}"
        )
    return TensorSpec(name, dtype.name, tuple(int(size) for size in shape))


def read_safetensors(path: Path) -> tuple[TensorSpec, ...]:
    """The tensors of a `.safetensors` file.

    Raises:
        ModelError: a header that is cut, garbled or twice as sure of a name, or tensors that
            overlap, leave gaps or end outside the file.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size_bytes + 1
        if 8 + length > size_bytes or length > _MOST_HEADER_BYTES:
            raise not_whole(path, _SAFETENSORS, "its header ends outside the file")
        raw = stream.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise not_whole(path, _SAFETENSORS, f"its header is garbled ({error})") from error
    if not isinstance(header, dict):
        raise not_whole(path, _SAFETENSORS, "its header is no table of tensors")
    header.pop("__metadata__", None)
    if not header:
        raise not_whole(path, _SAFETENSORS, "it holds no tensors")
    tensors, places = [], []
    for name, about in header.items():
        spec, begin, end = _safetensor(path, name, about)
        tensors.append(spec)
        places.append((begin, end, name))
    _check_places(path, sorted(places), size_bytes - 8 - length)
    return tuple(tensors)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("it names something twice")
    return table


def _safetensor(path: Path, name: str, about: Any) -> tuple[TensorSpec, int, int]:
    try:
        dtype, bits = _DTYPES[about["dtype"]]
        shape = tuple(about["shape"])
        begin, end = about["data_offsets"]
        numbers = (*shape, begin, end)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"what it says of the tensor {name!r} is garbled"
        raise not_whole(path, _SAFETENSORS, reason) from error
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in numbers):
        reason = f"the tensor {name!r} has sizes that make no sense"
        raise not_whole(path, _SAFETENSORS, reason)
    needed = math.prod(shape) * bits // 8
    if end - begin != needed:
        raise not_whole(
            path, _SAFETENSORS, f"the tensor {name!r} has {end - begin} of {needed} bytes"
        )
    return TensorSpec(name, dtype, shape), begin, end


def _check_places(path: Path, places: list[tuple[int, int, str]], held: int) -> None:
    last = 0
    for begin, end, name in places:
        if end > held:
            reason = f"the tensor {name!r} ends at byte {end} of its data, the file at {held}"
            raise not_whole(path, _SAFETENSORS, reason)
        if begin != last:
            how = "overlaps another" if begin < last else "has a gap before it"
            raise not_whole(path, _SAFETENSORS, f"the tensor {name!r} {how}")
        last = end
    if last != held:
        raise not_whole(path, _SAFETENSORS, f"{held - last} bytes behind its tensors are nobody's")
