"""Pixels from real image files of every sort, the cache, and what is left out."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import pixels
from harness.datasets.inputs import PreparedInputs
from harness.datasets.layouts import discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import PRESETS, load_recipe
from harness.errors import DatasetError, StoreError
from harness.progress import SilentProgress

SILENT = SilentProgress()


def _prepare(
    data: Path, cache: Path, size: int = 32, jobs: int = 1, recipe: str = "torch"
) -> PreparedInputs:
    return prepare(discover(data), load_recipe(recipe), size, size, cache, SILENT, jobs)


def _photo(width: int = 60, height: int = 45, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "data").mkdir()
    return tmp_path / "data", tmp_path / "cache"


def _bomb() -> bytes:
    """A PNG of 60000 x 60000 pixels in a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_every_kind_of_image_gives_the_pixels_of_its_rgb_form(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    photo = _photo()
    grey = photo.convert("L")
    photo.save(data / "a-rgb.png")
    grey.save(data / "b-grey.png")
    grey.convert("RGB").save(data / "c-grey-as-rgb.png")
    wide = (np.asarray(grey).astype(np.uint16) * 257).copy()
    Image.fromarray(wide).save(data / "d-16bit.png")
    photo.convert("RGBA").save(data / "e-alpha.png")
    grey.convert("P").save(data / "f-palette.png", transparency=bytes(range(256)))
    photo.save(data / "g-png-named.JPEG", format="PNG")
    photo.save(data / "h.webp", lossless=True)
    photo.save(data / "i.tif")
    photo.save(data / "j.BMP")
    inputs = _prepare(data, cache)
    assert inputs.excluded == ()
    array = np.load(inputs.path)
    assert (array.shape, array.dtype) == ((10, 32, 32, 3), np.uint8)
    rgb, as_rgb = array[0], array[2]
    for place in (4, 6, 7, 8, 9):
        assert np.array_equal(array[place], rgb), inputs.names[place]
    for place in (1, 3, 5):
        assert np.array_equal(array[place], as_rgb), inputs.names[place]


def test_cmyk_jpeg_and_the_first_frame_of_an_animation_are_read(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    photo = _photo()
    photo.convert("CMYK").save(data / "cmyk.jpg", quality=95)
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(data / "moves.gif", save_all=True, append_images=frames[1:])
    inputs = _prepare(data, cache)
    assert inputs.names == ("cmyk.jpg", "moves.gif")
    array = np.load(inputs.path).astype(int)
    expected = np.asarray(photo.resize((48, 36)).crop((8, 2, 40, 34)), dtype=int)
    assert np.abs(array[0] - expected).mean() < 12
    assert array[1].reshape(-1, 3).mean(axis=0).tolist() == [255, 0, 0]


def test_the_long_side_is_cut_down_and_the_crop_is_centred(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    photo = _photo(101, 67)
    photo.save(data / "a.png")
    array = np.load(_prepare(data, cache).path)
    # Resize(37): 67 is the short side, 37 * 101 / 67 = 55.8 is cut to 55; the crop of 32 begins
    # at (55 - 32) // 2 = 11 and (37 - 32) // 2 = 2.
    resized = photo.resize((55, 37), Image.Resampling.BILINEAR)
    assert np.array_equal(array[0], np.asarray(resized.crop((11, 2, 43, 34))))


def test_images_that_cannot_be_used_are_left_out_with_name_and_reason(
    folders: tuple[Path, Path],
) -> None:
    data, cache = folders
    stream = io.BytesIO()
    _photo(200, 200).save(stream, "JPEG")
    whole = stream.getvalue()
    good = ["a good.png", "tief/été 日本.png", "z.png"]
    for name in good:
        (data / name).parent.mkdir(exist_ok=True)
        _photo(seed=len(name)).save(data / name)
    (data / "bomb.png").write_bytes(_bomb())
    (data / "cut.jpeg").write_bytes(whole[: len(whole) // 2])
    (data / "empty.jpg").write_bytes(b"")
    (data / "link.jpg").symlink_to(data / "nowhere.jpg")
    (data / "narrow.png").write_bytes(b"")
    Image.new("L", (1, 4_000_000)).save(data / "narrow.png")
    (data / "text.jpg").write_text("not an image")
    (data / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    inputs = _prepare(data, cache)
    assert list(inputs.names) == good
    assert len(inputs.labels) == len(inputs.sha256) == inputs.count == 3
    reasons = {e.name: e.reason for e in inputs.excluded}
    assert set(reasons) == {
        "bomb.png", "cut.jpeg", "empty.jpg", "link.jpg", "narrow.png", "text.jpg", "script.png",
    }  # fmt: skip
    assert "pixels" in reasons["bomb.png"]
    assert "truncated" in reasons["cut.jpeg"]
    assert reasons["empty.jpg"] == "the file is empty"
    assert "link" in reasons["link.jpg"]
    assert "narrow" in reasons["narrow.png"]
    assert "known format" in reasons["text.jpg"]
    array = np.load(inputs.path)
    for place, name in enumerate(good):
        alone = data.parent / f"alone{place}"
        alone.mkdir()
        (alone / "x.png").write_bytes((data / name).read_bytes())
        assert np.array_equal(array[place], np.load(_prepare(alone, cache).path)[0]), name


def test_a_second_call_decodes_nothing_and_names_the_same_exclusions(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = folders
    _photo().save(data / "b.png")
    (data / "a.png").write_bytes(b"")
    first = _prepare(data, cache)
    monkeypatch.setattr(pixels, "image_pixels", lambda *_: pytest.fail("decoded again"))
    assert _prepare(data, cache) == first
    assert [e.name for e in first.excluded] == ["a.png"]


def test_the_key_follows_bytes_order_and_geometry_not_names_labels_or_normalisation(
    folders: tuple[Path, Path],
) -> None:
    data, cache = folders
    _photo(seed=1).save(data / "a.png")
    _photo(seed=2).save(data / "b.png")
    first = _prepare(data, cache)
    assert _prepare(data, cache, recipe="caffe").key == first.key
    assert _prepare(data, cache, size=24).key != first.key
    (data / "a.png").rename(data / "n01440764.png")
    (data / "val_map.txt").write_text("b.png 1\nn01440764.png 0\n")
    swapped = _prepare(data, cache)
    assert swapped.key != first.key, "another order"
    (data / "b.png").rename(data / "z.png")
    (data / "val_map.txt").write_text("z.png 1\n")
    renamed = _prepare(data, cache)
    assert renamed.key == first.key
    assert (renamed.names, renamed.labels) == (("n01440764.png", "z.png"), (None, 1))


def test_worker_processes_give_the_same_bytes_as_one(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    for i in range(70):
        _photo(40 + i, 50, seed=i).save(data / f"{i:02d}.png")
    (data / "33.png").write_bytes(b"broken")
    alone = _prepare(data, cache / "one")
    many = _prepare(data, cache / "two", jobs=2)
    assert alone.key == many.key
    assert alone.path.read_bytes() == many.path.read_bytes()
    assert [e.name for e in many.excluded] == ["33.png"]
    record = json.loads((many.path.parent / "inputs.json").read_text())
    assert record["excluded"][0]["place"] == 33


def test_two_processes_at_once_both_get_the_whole_array(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    for i in range(20):
        _photo(seed=i).save(data / f"{i:02d}.png")
    program = (
        "import sys; from pathlib import Path\n"
        "from harness.datasets.layouts import discover\n"
        "from harness.datasets.pixels import prepare\n"
        "from harness.datasets.recipes import load_recipe\n"
        "from harness.progress import SilentProgress\n"
        "p = prepare(discover(Path(sys.argv[1])), load_recipe('tf'), 32, 32, Path(sys.argv[2]),"
        " SilentProgress(), 1)\n"
        "print(p.path.stat().st_size)"
    )
    command = [sys.executable, "-c", program, str(data), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sizes = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sizes == [128 + 20 * 32 * 32 * 3] * 2


_CRASHING = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from harness.datasets import pixels

decode = pixels.image_pixels
def crash(path, geometry):
    if path.name == "07.png":
        os._exit(139)
    return decode(path, geometry)
pixels.image_pixels, pixels._CHUNK, pixels._FEW = crash, 2, 4

if __name__ == "__main__":
    from harness.datasets.layouts import discover
    from harness.datasets.recipes import load_recipe
    from harness.progress import SilentProgress
    data, cache = Path(sys.argv[1]), Path(sys.argv[2])
    made = pixels.prepare(discover(data), load_recipe("tf"), 32, 32, cache, SilentProgress(), 1 + 1)
    print(made.count, [(e.name, e.reason) for e in made.excluded])
"""


def test_an_image_that_ends_the_decoding_process_is_left_out_and_named(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    data, cache = folders
    for i in range(14):
        _photo(seed=i).save(data / f"{i:02d}.png")
    script = tmp_path / "crashing.py"
    script.write_text(_CRASHING)
    root = str(Path(pixels.__file__).parents[2])
    command = [sys.executable, str(script), str(data), str(cache), root]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert printed.stdout.strip() == "13 [('07.png', 'decoding it ends the process')]"


def test_what_a_killed_process_left_half_made_is_removed(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    _photo().save(data / "a.png")
    key = _prepare(data, cache / "other").key
    cut = cache / "pixels" / f".{key}.0123abcd.staged"
    cut.mkdir(parents=True)
    (cut / "pixels.npy").write_bytes(b"part")
    _prepare(data, cache)
    assert sorted(p.name for p in (cache / "pixels").iterdir()) == [f".{key}.lock", key]


def test_a_damaged_cache_is_made_again(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    _photo().save(data / "a.png")
    first = _prepare(data, cache)
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-7])
    assert _prepare(data, cache).path.read_bytes() == whole
    (first.path.parent / "inputs.json").write_text("{")
    assert _prepare(data, cache).path.read_bytes() == whole


def test_nothing_usable_is_an_error_and_leaves_nothing(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    (data / "a.png").write_bytes(b"")
    (data / "b.jpg").write_bytes(b"text")
    with pytest.raises(DatasetError, match="None of the 2 images"):
        _prepare(data, cache)
    assert [p.name for p in (cache / "pixels").iterdir() if not p.name.endswith(".lock")] == []


def test_a_full_disk_is_a_clear_error(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = folders
    _photo().save(data / "a.png")
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(pixels.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match="need 0 MiB") as caught:
        _prepare(data, cache)
    assert "HARNESS_CACHE" in str(caught.value)


def test_a_cache_that_cannot_be_made_is_a_clear_error(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    _photo().save(data / "a.png")
    cache.write_text("a file stands where the cache should be")
    with pytest.raises(StoreError, match="Cannot write"):
        _prepare(data, cache)


def test_the_real_sample_is_prepared_whole(real_data: Path, tmp_path: Path) -> None:
    dataset = discover(real_data / "data" / "imagenet-sample" / "val")
    assert (dataset.layout, len(dataset.items)) == ("synset-folders", 500)
    assert len({item.label for item in dataset.items}) == 500
    few = type(dataset)(dataset.root, dataset.items[:40], dataset.classes, dataset.layout)
    inputs = prepare(few, PRESETS["tf"], 224, 224, tmp_path, SILENT, 2)
    assert inputs.excluded == ()
    assert np.load(inputs.path, mmap_mode="r").shape == (40, 224, 224, 3)
