"""The variables of a SavedModel: an index (a sorted table) and the data files that it points into.

The table's format is LevelDB's, uncompressed, as tensorflow/core/util/tensor_bundle writes it:
blocks of prefix-compressed keys with restarts at their end, and a footer of 48 bytes with the
place of the block that lists the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from harness.errors import ModelError
from harness.models.model_file import not_whole
from harness.models.tensorflow_protos import message_class

_KIND = "an index of variables (variables.index)"
_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_MOST_BYTES = 256 * 1024**2
_COPY = "Copy the whole folder again, with its folder variables/."


def check_variables(folder: Path) -> None:
    """Check that a SavedModel's variables are there, to their last byte.

    Raises:
        ModelError: the index or a data file is missing, cut or garbled.
    """
    index = folder / "variables.index"
    if not index.is_file():
        raise ModelError(f"{folder.parent} has variables, and {index} is not there.", _COPY)
    if index.stat().st_size > _MOST_BYTES:
        raise not_whole(index, _KIND, "it is too large")
    try:
        ends, shards = _ends(index.read_bytes())
    # Offsets in a garbled table lead anywhere: it fails in one of these ways.
    except (DecodeError, ValueError, IndexError, struct.error) as error:
        raise not_whole(index, _KIND, f"its table is cut or garbled ({error})", _COPY) from error
    for shard in range(shards):
        data = folder / f"variables.data-{shard:05d}-of-{shards:05d}"
        if not data.is_file():
            raise ModelError(f"{folder.parent} has variables, and {data} is not there.", _COPY)
        size_bytes = data.stat().st_size
        if size_bytes < ends.get(shard, 0):
            raise ModelError(
                f"{data} is truncated: its variables end at byte {ends[shard]}, the file at "
                f"{size_bytes}.",
                _COPY,
            )


def _ends(table: bytes) -> tuple[dict[int, int], int]:
    """Where the variables of each data file end, and how many such files there are."""
    ends: dict[int, int] = {}
    shards = 0
    header, entry = message_class("BundleHeader"), message_class("BundleEntry")
    for key, value in _rows(table):
        if not key:
            shards = int(header.FromString(value).num_shards)
            continue
        about = entry.FromString(value)
        if about.offset < 0 or about.size < 0:
            raise ValueError(f"the variable {key!r} has no place")
        ends[about.shard_id] = max(ends.get(about.shard_id, 0), about.offset + about.size)
    if not 0 < shards <= 10_000 or any(shard >= shards for shard in ends):
        raise ValueError("it does not say how many data files there are")
    return ends, shards


def _rows(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(table) < _FOOTER_BYTES or struct.unpack("<Q", table[-8:])[0] != _MAGIC:
        raise ValueError("its footer is missing")
    footer = table[-_FOOTER_BYTES:]
    _, place = _handle(footer, 0)
    (offset, size), _ = _handle(footer, place)
    for _, value in _block(table, offset, size):
        (offset, size), _ = _handle(value, 0)
        yield from _block(table, offset, size)


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    block = table[offset : offset + size]
    # One byte behind each block says how it is compressed.
    if len(block) < 4 or len(block) != size or table[offset + size] != 0:
        raise ValueError("a block of it is cut or compressed")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 - 4 * restarts
    place, key = 0, b""
    while place < end:
        shared, place = _number(block, place)
        fresh, place = _number(block, place)
        length, place = _number(block, place)
        if shared > len(key) or place + fresh + length > end:
            raise ValueError("a row of it ends outside its block")
        key = key[:shared] + block[place : place + fresh]
        place += fresh + length
        yield key, block[place - length : place]


def _handle(raw: bytes, place: int) -> tuple[tuple[int, int], int]:
    offset, place = _number(raw, place)
    size, place = _number(raw, place)
    return (offset, size), place


def _number(raw: bytes, place: int) -> tuple[int, int]:
    """A varint at a place, and the place behind it."""
    value = 0
    for shift in range(0, 64, 7):
        byte = raw[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number in it is too long")
