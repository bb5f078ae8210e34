"""Image files of every sort that a data set may hold, small, and bytes that are no images."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 120, 90


def picture() -> Image.Image:
    """A smooth picture: RGB, 120 x 90."""
    down, right = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.stack([down * 2, right * 2, down + right], -1).astype(np.uint8))


def rough(width: int = 200, height: int = 160, seed: int = 0) -> Image.Image:
    """A picture with edges, on which two ways of resizing differ."""
    coarse = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_odd_images(folder: Path) -> list[Path]:
    """Write one of each into a folder; their paths, sorted by name."""
    folder.mkdir(exist_ok=True)
    image = picture()
    image.save(folder / "rgb.jpg", quality=90)
    for name in ("rgb.png", "rgb.bmp", "rgb.tif"):
        image.save(folder / name)
    image.save(folder / "rgb.webp", lossless=True)
    _with_black(image).save(folder / "cmyk.jpg", quality=95)
    image.convert("L").save(folder / "grey.jpg")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(
        folder / "grey16.png"
    )
    (folder / "rgb16.png").write_bytes(_rgb_of_16_bits(image))
    half = np.asarray(image.convert("RGBA")).copy()
    half[:, WIDTH // 2 :, 3] = 0
    Image.fromarray(half).save(folder / "alpha.png")
    image.quantize(16).save(folder / "palette.png")
    second = [Image.fromarray(255 - np.asarray(image))]
    image.save(folder / "animated.gif", save_all=True, append_images=second)
    image.save(folder / "animated.webp", save_all=True, append_images=second, lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif, quality=90)
    for name in ("rgb.jpg", "rgb.png"):
        whole = (folder / name).read_bytes()
        (folder / name.replace("rgb", "cut")).write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    (folder / "huge.png").write_bytes(png(20000, 20000, b""))
    (folder / "huge.jpg").write_bytes(_huge_jpeg((folder / "rgb.jpg").read_bytes()))
    return sorted(folder.iterdir())


def png(width: int, height: int, rows: bytes, depth: int = 8) -> bytes:
    """A PNG of RGB pixels, whose rows need not be all."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checked

    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def _rgb_of_16_bits(image: Image.Image) -> bytes:
    wide = np.asarray(image).astype(">u2") * np.array(257, dtype=">u2")
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    return png(image.width, image.height, rows, depth=16)


def _with_black(image: Image.Image) -> Image.Image:
    """CMYK as a printer would have it: what the three colours share is black."""
    ink = 255 - np.asarray(image)
    black = ink.min(axis=2, keepdims=True)
    return Image.fromarray(np.concatenate([ink - black, black], axis=2), mode="CMYK")


def _huge_jpeg(whole: bytes) -> bytes:
    """A JPEG that says of itself that it is 20000 x 20000 pixels."""
    frame = whole.index(b"\xff\xc0")
    return whole[: frame + 5] + struct.pack(">HH", 20000, 20000) + whole[frame + 9 :]
