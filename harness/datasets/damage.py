"""Damage that a decoder passes over in silence, and what a file is that is no image."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

_ZEROS = 64
"""So many zero bytes at the end are a gap, as unfinished downloads leave it, not image data."""

_NOT_IMAGES = (
    (b"version https://git-lfs", "a pointer of Git LFS: pull the file itself"),
    (b"%pdf-", "a PDF document"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed by gzip"),
)
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<svg")


class ImageError(Exception):
    """An image that cannot be used; the text is the reason, for a record."""


def check_whole(path: Path) -> None:
    """Refuse files whose damage would become wrong pixels without a word from the decoder.

    A PNG whose image data do not have their checksum, and a JPEG or WebP that ends in zeros where
    its data should go on. Other truncation the decoders report themselves. Not seen, because the
    formats have no checksum: changed bytes inside a JPEG's, WebP's, BMP's or raw TIFF's data, and
    a JPEG that was cut and given an end marker again.

    Raises:
        ImageError: with the reason.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(16)
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            _check_png(stream)
        elif head.startswith(b"\xff\xd8") or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
            _check_tail(stream, jpeg=head.startswith(b"\xff\xd8"))


def _check_png(stream: BinaryIO) -> None:
    """Compare the checksums of the image data (PNG specification, 5.3 and 5.5)."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND":
            return
        if kind != b"IDAT":
            stream.seek(size + 4, 1)
            continue
        checksum = zlib.crc32(kind)
        while size > 0 and (part := stream.read(min(size, 1 << 20))):
            checksum = zlib.crc32(part, checksum)
            size -= len(part)
        stored = stream.read(4)
        if len(stored) == 4 and int.from_bytes(stored, "big") != checksum:
            raise ImageError("its data are damaged: a checksum does not match")


def _check_tail(stream: BinaryIO, *, jpeg: bool) -> None:
    stream.seek(0, 2)
    end = stream.tell()
    stream.seek(max(0, end - _ZEROS))
    if stream.read().strip(b"\0"):
        return
    if jpeg:
        # Within the data of a scan FF D9 is its end marker and nothing else; a whole file may
        # well be padded after it.
        stream.seek(0)
        data = stream.read()
        if b"\xff\xd9" in data[data.rfind(b"\xff\xda") :]:
            return
    raise ImageError("its data are damaged: it ends in zeros, as an unfinished download does")


def what_else(path: Path) -> str:
    """What a file is that is not an image in a known format."""
    unknown = "not an image in a known format"
    try:
        with path.open("rb") as stream:
            head = stream.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    except OSError:
        return unknown
    if head.startswith(_PAGES):
        return "a web page or XML, not an image"
    if head[4:12] in {b"ftypavif", b"ftypheic", b"ftypmif1"}:
        return "an AVIF or HEIF image, which is not read: convert it to PNG"
    return next(
        (what for start, what in _NOT_IMAGES if head.startswith(start)),
        unknown,
    )
