"""The format and size that a file's first bytes tell, against what Pillow says of it."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from PIL import Image

from runner.support.image_header import Header, read_header


def saved(mode: str = "RGB", size: tuple[int, int] = (301, 77), **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, 7).save(stream, **options)
    return stream.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "words " * 500
EVERY: dict[str, bytes] = {
    "jpeg": saved(format="JPEG"),
    "progressive": saved(format="JPEG", progressive=True),
    "jpeg after a long EXIF": saved(format="JPEG", exif=EXIF),
    "cmyk": saved("CMYK", format="JPEG"),
    "png": saved(format="PNG"),
    "gif": saved("P", format="GIF"),
    "bmp": saved(format="BMP"),
    "webp lossy": saved(format="WEBP"),
    "webp lossless": saved(format="WEBP", lossless=True),
    "webp extended": saved(format="WEBP", exif=EXIF),
    "tiff": saved(format="TIFF"),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_header_says_format_and_size(name: str) -> None:
    data = EVERY[name]
    with Image.open(io.BytesIO(data)) as image:
        expected = Header(str(image.format), *image.size)
    assert read_header(data) == expected
    assert (expected.width, expected.height) == (301, 77)


def test_a_tiff_of_the_other_byte_order_is_read() -> None:
    entries = [(256, 4, 1, 301), (257, 4, 1, 77)]
    packed = b"".join(struct.pack(">HHII", *entry) for entry in entries)
    data = b"MM\0*" + struct.pack(">IH", 8, len(entries)) + packed
    assert read_header(data) == Header("TIFF", 301, 77)


def test_a_bmp_whose_rows_begin_at_the_top_has_its_size() -> None:
    data = b"BM" + bytes(12) + struct.pack("<Iii", 40, 301, -77)
    assert read_header(data) == Header("BMP", 301, 77)


def test_a_file_cut_anywhere_in_its_header_has_no_wrong_size() -> None:
    for name, data in EVERY.items():
        whole = read_header(data)
        for end in range(min(len(data), 4000)):
            found = read_header(data[:end])
            assert found in (whole, Header(whole.format), Header()), (name, end)


def test_what_is_no_image_has_neither() -> None:
    for data in (b"", b"no image", b"\0" * 64, b"RIFF1234WAVE"):
        assert read_header(data) == Header()
