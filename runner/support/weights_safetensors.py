"""Reads `.safetensors`: eight bytes of length, a JSON header, then the arrays' bytes.

See https://huggingface.co/docs/safetensors (section Format).
"""

from __future__ import annotations

import json
import os
import struct
from typing import IO, Any, Dict, Optional

import numpy as np

from runner.support.weights_values import (
    DamagedError,
    RefusedError,
    array_from,
    check_total,
    read_exactly,
)

_MAX_HEADER_BYTES = 100 * 1000**2
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
        DamagedError: if the header and the bytes do not fit each other.
        RefusedError: for a dtype that NumPy does not have.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    (length,) = struct.unpack("<Q", read_exactly(file, 8, "the header's length"))
    if length > size_bytes - 8:
        raise DamagedError(f"the header should be {length} bytes and the file is {size_bytes}")
    header = json.loads(read_exactly(file, length, "the header").decode("utf-8"))
    if not isinstance(header, dict):
        raise DamagedError("the header is no JSON object")
    header.pop("__metadata__", None)
    start, room = 8 + length, size_bytes - 8 - length
    check_total(sum(_extent(name, entry, room)[1] for name, entry in header.items()), size_bytes)
    arrays = {}
    for name, entry in header.items():
        begin, count_bytes = _extent(name, entry, room)
        file.seek(start + begin)
        data = read_exactly(file, count_bytes, name)
        arrays[name] = array_from(data, _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def _extent(name: str, entry: Any, room: int) -> "tuple[int, int]":
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        sizes = [*shape, begin, end]
        sound = all(isinstance(size, int) and size >= 0 for size in sizes)
    except (TypeError, KeyError, ValueError) as error:
        raise DamagedError(f"the header's entry {name!r} can't be understood") from error
    if dtype not in _DTYPES:
        raise RefusedError(f"array {name!r} is {dtype}: save it as one of {', '.join(_DTYPES)}")
    count = 1
    for size in shape:
        count *= size
    item_bytes = 2 if _DTYPES[dtype] is None else np.dtype(_DTYPES[dtype]).itemsize
    if not sound or end > room or end - begin != count * item_bytes:
        raise DamagedError(f"array {name!r} does not fit into the file")
    return begin, end - begin
