"""The format and size of an image file, by its first bytes and without a library.

It bounds what a library is handed: some say a size only when everything is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Optional

_NO_SIZE_MARKERS = frozenset([0x01, *range(0xD0, 0xDA)])
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3


@dataclass(frozen=True)
class Header:
    """A format by its common name, and the size in pixels; 0 where the header does not tell."""

    format: str = ""
    width: int = 0
    height: int = 0


def read_header(data: bytes) -> Header:
    """What a file says of itself: JPEG, PNG, GIF, BMP, WEBP, TIFF; of the first image in it.

    A file cut within its header has a format and no size; anything else has neither.
    """
    for name, begins, size in (
        ("JPEG", data[:3] == b"\xff\xd8\xff", _jpeg),
        ("PNG", data[:8] == b"\x89PNG\r\n\x1a\n", _png),
        ("GIF", data[:6] in (b"GIF87a", b"GIF89a"), _gif),
        ("BMP", data[:2] == b"BM", _bmp),
        ("WEBP", data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp),
        ("TIFF", data[:4] in (b"II*\0", b"MM\0*"), _tiff),
    ):
        if begins:
            try:
                found = size(data)
            except (struct.error, IndexError):
                found = None
            return Header(name, *(found or (0, 0)))
    return Header()


def _jpeg(data: bytes) -> Optional[tuple]:
    place = 2
    while place < len(data):
        if data[place] != 0xFF:
            return None
        while data[place] == 0xFF:
            place += 1
        marker = data[place]
        place += 1
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, place + 3)
            return width, height
        if marker not in _NO_SIZE_MARKERS:
            place += struct.unpack_from(">H", data, place)[0]
    return None


def _png(data: bytes) -> Optional[tuple]:
    return struct.unpack_from(">II", data, 16)


def _gif(data: bytes) -> Optional[tuple]:
    return struct.unpack_from("<HH", data, 6)


def _bmp(data: bytes) -> Optional[tuple]:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    # A negative height says that the rows begin at the top.
    return abs(width), abs(height)


def _webp(data: bytes) -> Optional[tuple]:
    kind = data[12:16]
    if kind == b"VP8X":
        # Each of three bytes, less one.
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(data: bytes) -> Optional[tuple]:
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, place)
    sides = {}
    for index in range(count):
        entry = place + 2 + 12 * index
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            value = "H" if kind == _TIFF_SHORT else "I"
            (sides[tag],) = struct.unpack_from(order + value, data, entry + 8)
    if len(sides) < 2:
        return None
    return sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT]
