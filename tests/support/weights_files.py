"""Tiny files of weights, written byte by byte: no framework is needed to make or to read them."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]

ORDERED = b"ccollections\nOrderedDict\n)R"
HEAD: Shapes = {"fc.weight": (7, 2048), "fc.bias": (7,)}
"""The classifier of a ResNet-50 with seven classes."""


def text(value: str) -> bytes:
    """The opcode for a string."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    """The opcode for an integer of four bytes."""
    return b"J" + struct.pack("<i", value)


def tensor(key: str, shape: tuple[int, ...], *, elements: int, legacy: bool = False) -> bytes:
    """The opcodes for a float32 tensor over a storage of its own."""
    strides = [1] * len(shape)
    for axis in reversed(range(len(shape) - 1)):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    storage = text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    storage = b"(" + storage + number(elements) + (b"N" if legacy else b"") + b"tQ"
    sizes = b"(" + b"".join(map(number, shape)) + b"t(" + b"".join(map(number, strides)) + b"t"
    arguments = b"(" + storage + number(0) + sizes + b"\x89" + ORDERED + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def state(shapes: Shapes, *, legacy: bool = False) -> bytes:
    """The pickle of a state_dict; the storage of the i-th tensor is called i."""
    items = b""
    for key, (name, shape) in enumerate(shapes.items()):
        elements = count(shape)
        items += text(name) + tensor(str(key), shape, elements=elements, legacy=legacy)
    return ORDERED + b"(" + items + b"u"


def count(shape: tuple[int, ...]) -> int:
    """How many numbers an array has."""
    elements = 1
    for side in shape:
        elements *= side
    return elements


def pickled(opcodes: bytes) -> bytes:
    """A whole pickle of protocol 2."""
    return b"\x80\x02" + opcodes + b"."


def torch_zip(path: Path, shapes: Shapes, pickle: bytes | None = None) -> Path:
    """A file as `torch.save` writes it, of zeros; with another pickle than the state_dict's."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(state(shapes)) if pickle is None else pickle)
        archive.writestr("archive/version", "3\n")
        for key, shape in enumerate(shapes.values()):
            archive.writestr(f"archive/data/{key}", bytes(4 * count(shape)))
    return path


def torch_legacy(path: Path, shapes: Shapes, pickle: bytes | None = None) -> Path:
    """A file as PyTorch wrote it before 1.6, of zeros."""
    magic = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
    parts = [
        pickled(b"\x8a" + bytes([len(magic)]) + magic),
        pickled(b"M\xe9\x03"),
        pickled(b"}(" + text("little_endian") + b"\x88u"),
        pickled(state(shapes, legacy=True)) if pickle is None else pickle,
        pickled(b"](" + b"".join(text(str(key)) for key in range(len(shapes))) + b"e"),
    ]
    parts += [
        struct.pack("<q", count(shape)) + bytes(4 * count(shape)) for shape in shapes.values()
    ]
    path.write_bytes(b"".join(parts))
    return path


def safetensors(path: Path, shapes: Shapes, header: object = None, more: bytes = b"") -> Path:
    """A `.safetensors` file of float32 zeros; with another header than the one that fits."""
    table, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * count(shape)
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    written = header if isinstance(header, bytes) else json.dumps(header or table).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + bytes(end) + more)
    return path
