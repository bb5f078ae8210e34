"""Reads `.safetensors`: eight bytes of length, a JSON header, then the arrays' bytes.

See https://huggingface.co/docs/safetensors (section Format).
"""

from __future__ import annotations

import json
import os
import struct
from typing import IO, Any, Dict, List, Optional, Tuple

import numpy as np

from runner.support.weights_values import (
    DamagedError,
    RefusedError,
    array_from,
    check_total,
    read_exactly,
)

_MAX_HEADER_BYTES = 100 * 1000**2
_MAX_AXES = 16
_BFLOAT16 = "BF16"
_DTYPES: Dict[str, Optional[str]] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    _BFLOAT16: None,
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def looks_like(start: bytes) -> bool:
    """Whether a file's first bytes are a length and the start of a JSON object."""
    if len(start) < 9:
        return False
    (length,) = struct.unpack("<Q", start[:8])
    return 2 <= int(length) <= _MAX_HEADER_BYTES and start[8:9] == b"{"


def read(file: IO[bytes]) -> Dict[str, np.ndarray]:
    """The arrays by name, in the order of the header; bfloat16 becomes float32.

    Raises:
        DamagedError: if the header and the bytes do not fit each other, or arrays each other.
        RefusedError: for a dtype that NumPy does not have.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    (length,) = struct.unpack("<Q", read_exactly(file, 8, "the header's length"))
    if length > size_bytes - 8:
        raise DamagedError(f"the header should be {length} bytes and the file is {size_bytes}")
    text = read_exactly(file, length, "the header").decode("utf-8")
    header = json.loads(text, object_pairs_hook=_each_once)
    if not isinstance(header, dict):
        raise DamagedError("the header is no JSON object")
    header.pop("__metadata__", None)
    start, room = 8 + length, size_bytes - 8 - length
    extents = {name: _extent(name, entry, room) for name, entry in header.items()}
    _refuse_overlaps(extents)
    check_total(sum(count_bytes for _, count_bytes in extents.values()), size_bytes)
    arrays = {}
    for name, entry in header.items():
        begin, count_bytes = extents[name]
        file.seek(start + begin)
        data = read_exactly(file, count_bytes, name)
        arrays[name] = array_from(data, _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def _each_once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """A JSON object; of a doubled name readers take the one or the other."""
    found: Dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise DamagedError(f"the header names {name[:200]!r} twice")
        found[name] = value
    return found


def _extent(name: str, entry: Any, room: int) -> Tuple[int, int]:
    """Where an array begins, and how many bytes it has."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise DamagedError(f"the header's entry {name!r} can't be understood") from error
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > _MAX_AXES:
        raise DamagedError(f"the header's entry {name!r} can't be understood")
    # Before anything is multiplied: a text times a number is as long as the number says.
    if not all(type(size) is int and size >= 0 for size in (*shape, begin, end)):
        raise DamagedError(f"array {name!r} has sizes that make no sense")
    if dtype not in _DTYPES:
        raise RefusedError(f"array {name!r} is {dtype}: save it as one of {', '.join(_DTYPES)}")
    count = 1
    for size in shape:
        count *= size
    item_bytes = 2 if _DTYPES[dtype] is None else np.dtype(_DTYPES[dtype]).itemsize
    if end > room or end - begin != count * item_bytes:
        raise DamagedError(f"array {name!r} does not fit into the file")
    return begin, end - begin


def _refuse_overlaps(extents: Dict[str, Tuple[int, int]]) -> None:
    """Each byte belongs to one array, as the format says."""
    last, last_end = "", 0
    for name, (begin, count_bytes) in sorted(extents.items(), key=lambda item: item[1]):
        if begin < last_end and count_bytes:
            raise DamagedError(f"the arrays {last!r} and {name!r} overlap")
        if count_bytes:
            last, last_end = name, begin + count_bytes
