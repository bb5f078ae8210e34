"""Every kind of image: the right pixels, or a reason why it is left out; never silently wrong."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms, ImageOps

from harness.datasets.decode import ImageError, image_pixels
from harness.datasets.layouts import discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import PRESETS, Geometry, geometry
from harness.progress import SilentProgress

WIDTH, HEIGHT = 64, 48
AS_IS = Geometry(HEIGHT, WIDTH, HEIGHT, WIDTH, "bilinear")


def _photo(seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _pixels(folder: Path, data: bytes, name: str = "a.jpg") -> NDArray[np.uint8]:
    path = folder / name
    path.write_bytes(data)
    return image_pixels(path, AS_IS)


def _reason(folder: Path, data: bytes, name: str = "a.jpg") -> str:
    with pytest.raises(ImageError) as caught:
        _pixels(folder, data, name)
    return str(caught.value)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", head),
            _chunk(b"IDAT", zlib.compress(rows)),
            _chunk(b"IEND", b""),
        )
    )


def _cmyk_of(image: Image.Image) -> Image.Image:
    """Ink values with some black in each pixel, so that K counts."""
    red, green, blue = image.split()
    light = ImageChops.lighter(ImageChops.lighter(red, green), blue).point(lambda v: max(v, 1))
    values = np.asarray(image).astype(float) / np.asarray(light)[..., None]
    inks = 255 - np.rint(values * 255).astype(np.uint8)
    return Image.merge("CMYK", (*Image.fromarray(inks).split(), ImageOps.invert(light)))


def test_a_cmyk_jpeg_gives_the_colours_it_was_made_from(tmp_path: Path) -> None:
    data = _encoded(_cmyk_of(_photo()), "JPEG", quality=100)
    assert b"Adobe" in data
    found = _pixels(tmp_path, data).astype(int)
    assert np.abs(found - np.asarray(_photo(), dtype=int)).mean() < 2


def test_a_ycck_jpeg_gives_the_colours_it_was_made_from(tmp_path: Path) -> None:
    # YCCK is YCbCr of the inks with K beside it. Pillow writes four channels as they are, inverted;
    # so these are put in inverted, and the Adobe marker's transform says YCCK (2), not CMYK (0).
    inks = _cmyk_of(_photo())
    planes = Image.merge("RGB", inks.split()[:3]).convert("YCbCr").split()
    stored = Image.merge("CMYK", (*map(ImageOps.invert, planes), inks.split()[3]))
    data = bytearray(_encoded(stored, "JPEG", quality=100))
    place = data.index(b"Adobe") + 11
    assert data[place] == 0
    data[place] = 2
    found = _pixels(tmp_path, bytes(data)).astype(int)
    assert np.abs(found - np.asarray(_photo(), dtype=int)).mean() < 3


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_the_exif_orientation_does_not_count(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix]
    turned = _encoded(_photo(), kind, exif=exif)
    assert turned != _encoded(_photo(), kind)
    assert np.array_equal(_pixels(tmp_path, turned), _pixels(tmp_path, _encoded(_photo(), kind)))


def test_of_a_tiff_pillow_itself_applies_the_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 3
    found = _pixels(tmp_path, _encoded(_photo(), "TIFF", exif=exif))
    assert np.array_equal(found, np.asarray(_photo().transpose(Image.Transpose.ROTATE_180)))


def test_progressive_and_a_colour_profile_change_nothing(tmp_path: Path) -> None:
    plain = _pixels(tmp_path, _encoded(_photo(), "JPEG"))
    progressive = _encoded(_photo(), "JPEG", progressive=True)
    assert b"\xff\xc2" in progressive
    assert np.array_equal(_pixels(tmp_path, progressive), plain)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    managed = _encoded(_photo(), "JPEG", icc_profile=profile)
    assert b"ICC_PROFILE" in managed
    assert np.array_equal(_pixels(tmp_path, managed), plain)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_counts(tmp_path: Path, kind: str) -> None:
    colours = [(255, 0, 0), (0, 0, 255)]
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in colours]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = _encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 2
    assert np.unique(_pixels(tmp_path, data).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_16_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, WIDTH * HEIGHT).astype(">u2").reshape(HEIGHT, WIDTH)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    found = _pixels(tmp_path, _png(WIDTH, HEIGHT, 16, 0, rows))
    expected = np.rint(values.astype(float) / 257).astype(int)
    assert np.abs(found.astype(int) - expected[..., None]).max() == 0
    colours = np.stack([values, values[::-1], values[:, ::-1]], axis=-1).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in colours)
    found = _pixels(tmp_path, _png(WIDTH, HEIGHT, 16, 2, rows))
    assert np.abs(found.astype(int) - colours.astype(float) / 257).max() < 1


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_grey_reach_from_black_to_white(tmp_path: Path, depth: int) -> None:
    width = WIDTH * depth // 8
    half = b"\0" * (width // 2) + b"\xff" * (width // 2)
    found = _pixels(tmp_path, _png(WIDTH, HEIGHT, depth, 0, (b"\0" + half) * HEIGHT))
    assert (found[:, : WIDTH // 2] == 0).all()
    assert (found[:, WIDTH // 2 :] == 255).all()


def test_transparency_leaves_the_colours_below_it(tmp_path: Path) -> None:
    image = _photo().convert("RGBA")
    image.putalpha(0)
    assert np.array_equal(_pixels(tmp_path, _encoded(image, "PNG")), np.asarray(_photo()))
    palette = _photo().quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    data = _encoded(palette, "PNG", transparency=bytes(16))
    assert np.array_equal(_pixels(tmp_path, data), expected)
    grey = Image.merge("LA", (_photo().convert("L"), Image.new("L", (WIDTH, HEIGHT), 9)))
    found = _pixels(tmp_path, _encoded(grey, "PNG"))
    assert np.array_equal(found, np.asarray(_photo().convert("L").convert("RGB")))


def test_values_of_no_known_range_are_left_out(tmp_path: Path) -> None:
    wide = Image.fromarray(np.full((HEIGHT, WIDTH), 200, dtype=np.int32))
    assert "32-bit integers" in _reason(tmp_path, _encoded(wide, "TIFF"))
    real = Image.fromarray(np.full((HEIGHT, WIDTH), 0.5, dtype=np.float32))
    assert "floating point" in _reason(tmp_path, _encoded(real, "TIFF"))


_KINDS = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "lzw": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("name", _KINDS)
def test_a_cut_file_gives_the_right_pixels_or_a_reason(tmp_path: Path, name: str) -> None:
    kind, options = _KINDS[name]
    data = _encoded(_photo(), kind, **options)
    whole = _pixels(tmp_path, data)
    refused = 0
    cuts = sorted(
        {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 30, len(data))}
    )
    for cut in cuts:
        try:
            found = _pixels(tmp_path, data[:cut])
        except ImageError:
            refused += 1
        else:
            assert np.array_equal(found, whole), f"silently wrong when cut at {cut}"
    assert refused >= len(cuts) - 25


@pytest.mark.parametrize("name", ["jpeg", "progressive", "png", "gif", "webp", "lossless", "lzw"])
def test_a_file_whose_rest_is_zeros_gives_the_right_pixels_or_a_reason(
    tmp_path: Path, name: str
) -> None:
    kind, options = _KINDS[name]
    noisy = Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    )
    data = _encoded(noisy, kind, **options)
    whole = _pixels(tmp_path, data)
    for cut in range(0, len(data) - 100, max(1, len(data) // 40)):
        try:
            found = _pixels(tmp_path, data[:cut] + bytes(len(data) - cut))
        except ImageError:
            continue
        assert np.array_equal(found, whole), f"silently wrong from {cut} on"


def test_zeros_behind_a_whole_jpeg_are_no_damage(tmp_path: Path) -> None:
    data = _encoded(_photo(), "JPEG")
    assert np.array_equal(_pixels(tmp_path, data + bytes(4096)), _pixels(tmp_path, data))


def test_a_changed_byte_in_a_pngs_data_is_seen(tmp_path: Path) -> None:
    data = bytearray(_encoded(_photo(), "PNG"))
    data[len(data) // 2] ^= 0x10
    assert _reason(tmp_path, bytes(data)) == "its data are damaged: a checksum does not match"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"\n<!DOCTYPE html><title>404</title>", "it is a web page or XML, not an image"),
        (b"\xef\xbb\xbf<html>", "it is a web page or XML, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a pointer of Git LFS"),
        (b"%PDF-1.7\n", "it is a PDF document"),
        (b"PK\x03\x04rest", "it is a ZIP archive"),
        (b"\0\0\0\x1cftypheic", "it is an AVIF or HEIF image"),
        (b"some text", "it is not an image in a known format"),
        (b"\xff\xd8", "it is not an image in a known format"),
    ],
)
def test_what_is_no_image_is_named_as_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    assert _reason(tmp_path, data).startswith(said)


@pytest.mark.parametrize(
    "data",
    [
        _png(100_000, 100_000, 8, 2, b""),
        _png(20_000, 9_000, 8, 2, b""),
        b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
        + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;",
    ],
    ids=["png", "png-just-above", "bmp", "gif"],
)
def test_an_image_that_would_unfold_to_gigabytes_is_left_out(tmp_path: Path, data: bytes) -> None:
    assert _reason(tmp_path, data, "a.png") == "it has more than 89478485 pixels"


def test_the_smallest_and_the_narrowest_images(tmp_path: Path) -> None:
    dot = Image.new("RGB", (1, 1), (10, 20, 30))
    found = _pixels(tmp_path, _encoded(dot, "PNG"))
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]
    strip = Image.fromarray(
        np.repeat(np.arange(5000) // 20, 3).reshape(5000, 1, 3).astype(np.uint8)
    )
    path = tmp_path / "strip.png"
    strip.save(path)
    found = image_pixels(path, geometry(PRESETS["torch"], 28, 28))
    assert (found == 124).any()
    assert np.abs(found.astype(int) - 124.5).max() <= 1, "the middle of it"
    with pytest.raises(ImageError, match="too long and narrow: 1 x 5000"):
        image_pixels(path, geometry(PRESETS["torch"], 224, 224))


def test_squashing_keeps_the_whole_image_and_loses_its_aspect(tmp_path: Path) -> None:
    for name in "ab":
        _photo(ord(name)).resize((90, 30)).save(tmp_path / f"{name}.png")
    dataset = discover(tmp_path)
    cache, silent = tmp_path / "cache", SilentProgress()
    squashed = prepare(dataset, PRESETS["torch"], 32, 32, cache, silent, 1, squash=True)
    plain = prepare(dataset, PRESETS["torch"], 32, 32, cache, silent, 1)
    assert squashed.key != plain.key
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(np.load(squashed.path)[0], expected)
    assert prepare(dataset, PRESETS["raw"], 32, 32, cache, silent, 1, squash=True) == squashed


def test_a_file_that_goes_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot be decoded: .*No such file"):
        image_pixels(tmp_path / "gone.png", AS_IS)
