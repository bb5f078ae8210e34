"""Small ELF files for tests: sections with content, and a table of symbols."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_PROGRAM_BITS, _SYMBOLS, _STRINGS = 1, 2, 3


def elf(
    sections: Mapping[bytes, bytes],
    undefined: Sequence[bytes] = (),
    defined: Sequence[bytes] = (),
) -> bytes:
    """A file of 64 bits, little-endian: these sections, then symbols and the names of both."""
    names, symbols = b"\0", b"\0" * 24
    for name, section in [*((n, 0) for n in undefined), *((n, 1) for n in defined)]:
        symbols += struct.pack("<IBBHQQ", len(names), 0, 0, section, 0, 0)
        names += name + b"\0"
    rows = [(b"", b"", 0, 0)]
    rows += [(name, content, _PROGRAM_BITS, 0) for name, content in sections.items()]
    rows += [(b".symtab", symbols, _SYMBOLS, len(rows) + 1), (b".strtab", names, _STRINGS, 0)]
    titles, starts = b"", []
    for name in [*(row[0] for row in rows), b".shstrtab"]:
        starts.append(len(titles))
        titles += name + b"\0"
    rows.append((b".shstrtab", titles, _STRINGS, 0))
    body, table = b"", b""
    for start, (_, content, kind, link) in zip(starts, rows, strict=True):
        offset = 64 + len(body)
        table += struct.pack("<IIQQQQIIQQ", start, kind, 0, 0, offset, len(content), link, 0, 1, 0)
        body += content
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 40, 64 + len(body))
    struct.pack_into("<HHH", head, 58, 64, len(rows), len(rows) - 1)
    return bytes(head) + body + table
