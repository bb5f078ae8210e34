"""Reading ELF files (libraries and object files of Linux): sections and what they call from others."""

from __future__ import annotations

import struct
from typing import BinaryIO, List, NamedTuple, Set, Tuple

_HEAD = b"\x7fELF\x02\x01"
"""64 bits, little-endian: all that the stacks here are built for."""

_ROW = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMBOL_TABLES = (2, 11)
_NO_BITS = 8


class Section(NamedTuple):
    """A named part of the file."""

    name: bytes
    content: bytes


class _Row(NamedTuple):
    name: bytes
    kind: int
    offset: int
    length: int
    link: int


def sections(path: str, beginnings: Tuple[bytes, ...]) -> List[Section]:
    """The sections whose names begin so, in the file's order; none of a file that is no such ELF."""
    with open(path, "rb") as file:
        return [
            Section(row.name, _content(file, row.offset, row.length))
            for row in _rows(file)
            if row.name.startswith(beginnings) and row.kind != _NO_BITS
        ]


def undefined_symbols(path: str) -> Set[bytes]:
    """The names that the file uses and others must define; none of a file that is no such ELF."""
    with open(path, "rb") as file:
        rows = _rows(file)
        found = set()
        for row in rows:
            if row.kind not in _SYMBOL_TABLES or row.link >= len(rows):
                continue
            names = _content(file, rows[row.link].offset, rows[row.link].length)
            table = _content(file, row.offset, row.length)
            for name_at, _, _, section, _, _ in _SYMBOL.iter_unpack(table):
                if section == 0 and name_at:
                    found.add(names[name_at : names.index(b"\0", name_at)])
        return found


def _rows(file: BinaryIO) -> List[_Row]:
    """The table of sections."""
    head = _content(file, 0, 64)
    if len(head) < 64 or not head.startswith(_HEAD):
        return []
    (start,) = struct.unpack_from("<Q", head, 40)
    size, count, names_at = struct.unpack_from("<HHH", head, 58)
    if size != _ROW.size or names_at >= count:
        return []
    table = list(_ROW.iter_unpack(_content(file, start, size * count)))
    names = _content(file, table[names_at][4], table[names_at][5])
    return [_Row(names[row[0] : names.index(b"\0", row[0])], row[1], *row[4:7]) for row in table]


def _content(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
