"""Each library in its shipped environment, on every sort of image, against its calls by hand."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from support.installed import cannot_install
from support.odd_images import HEIGHT, WIDTH, rough, write_odd_images

from harness.datasets.decode import ImageError, image_pixels
from harness.datasets.recipes import Geometry
from harness.environments.provision import Provisioned, provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress
from runner.documents import schema

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGING, TORCH, TENSORFLOW, OLD = "imaging-13.0", "torch-2.13", "tensorflow-2.21", "tensorflow-2.15"
AS_IT_IS = Geometry(HEIGHT, WIDTH, HEIGHT, WIDTH, "bilinear")
SHRUNK = Geometry(32, 40, 36, 44, "bilinear")
NEVER_READ = {"cut.jpg", "cut.png", "empty.jpg", "huge.jpg", "huge.png", "text.jpg"}


@cache
def installed(name: str) -> Provisioned:
    try:
        return provision(resolve(name), SilentProgress())
    except HarnessError as error:
        cannot_install(name, error)


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], np.ndarray]]:
    """Prepare images in an environment: the event, and the pixels."""

    def do(
        name: str,
        preprocessor: str,
        images: list[Path],
        geometry: Geometry = SHRUNK,
        settings: dict[str, Any] | None = None,
        *,
        squash: bool = False,
        refused: bool = False,
    ) -> tuple[dict[str, Any], np.ndarray]:
        target = tmp_path / "work" / "pixels.npy"
        target.parent.mkdir(exist_ok=True)
        job = {
            "schema_version": 1,
            "kind": "prepare",
            "work": str(target.parent),
            "preprocessor": preprocessor,
            "settings": settings or {},
            "geometry": {**geometry.document(), "squash": squash},
            "images": [str(path) for path in images],
            "target": str(target),
        }
        (tmp_path / "job.json").write_text(json.dumps(job))
        with subprocess.Popen(
            [str(installed(name).python), "-m", "runner", str(tmp_path / "job.json")],
            env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            events = [json.loads(line) for line in process.stdout]
        if refused:
            return json.loads((target.parent / "error.json").read_text()), np.empty(0)
        assert process.returncode == 0, (target.parent / "error.json").read_text()
        Draft202012Validator(schema("event")).validate(events[-1])
        return events[-1], np.load(target)

    return do


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A rough JPEG of 200 x 160 pixels."""
    rough().save(tmp_path / "photo.jpg", quality=92)
    return tmp_path / "photo.jpg"


def by_hand(name: str, program: str, photo: Path) -> np.ndarray:
    """What a few lines of a library make of a file: they set `pixels`."""
    target = photo.with_suffix(".npy")
    lines = f"path, target = {str(photo)!r}, {str(target)!r}\n{program}"
    code = f"{lines}\nimport numpy\nnumpy.save(target, pixels)\n"
    done = subprocess.run(
        [str(installed(name).python), "-c", code],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.load(target)


# 160 rows become 36 and 200 columns 45; the crop of 32 x 40 begins at row 2 and column 2.
OPENCV = """
import cv2
pixels = cv2.cvtColor(cv2.resize(cv2.imread(path), (45, 36), interpolation={method}),
                      cv2.COLOR_BGR2RGB)[2:34, 2:42]
"""
TORCHVISION = """
from runner.support.torch_vision import import_torchvision
import_torchvision()
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as f
image = {image}(Image.open(path).convert("RGB"))
image = f.resize(image, [36, 45], InterpolationMode.BILINEAR, antialias={antialias})
pixels = {array}[2:34, 2:42]
"""
TENSORS = {"image": "f.pil_to_tensor", "array": "image.permute(1, 2, 0).numpy()"}
PICTURES = {"image": "", "array": "numpy.asarray(image)"}
TF = """
import tensorflow as tf
image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3{dct})
pixels = tf.image.resize(image, [36, 45], "{method}", antialias={antialias})[2:34, 2:42].numpy()
"""


@pytest.mark.parametrize(
    ("name", "preprocessor", "settings", "method", "program"),
    [
        (IMAGING, "opencv", {}, "bilinear", OPENCV.format(method="cv2.INTER_LINEAR")),
        (IMAGING, "opencv", {"area": True}, "bilinear", OPENCV.format(method="cv2.INTER_AREA")),
        (IMAGING, "opencv", {}, "bicubic", OPENCV.format(method="cv2.INTER_CUBIC")),
        (IMAGING, "opencv", {}, "lanczos", OPENCV.format(method="cv2.INTER_LANCZOS4")),
        (TORCH, "torchvision", {}, "bilinear", TORCHVISION.format(antialias=True, **PICTURES)),
        (
            TORCH,
            "torchvision",
            {"tensor": True},
            "bilinear",
            TORCHVISION.format(antialias=True, **TENSORS),
        ),
        (
            TORCH,
            "torchvision",
            {"tensor": True, "antialias": False},
            "bilinear",
            TORCHVISION.format(antialias=False, **TENSORS),
        ),
        (
            TENSORFLOW,
            "tensorflow",
            {},
            "bilinear",
            TF.format(dct="", method="bilinear", antialias=False),
        ),
        (
            TENSORFLOW,
            "tensorflow",
            {"dct": "accurate", "antialias": True},
            "bicubic",
            TF.format(dct=", dct_method='INTEGER_ACCURATE'", method="bicubic", antialias=True),
        ),
        (OLD, "tensorflow", {}, "lanczos", TF.format(dct="", method="lanczos3", antialias=False)),
        (OLD, "tensorflow", {}, "nearest", TF.format(dct="", method="nearest", antialias=False)),
    ],
)
def test_a_preprocessor_does_what_its_library_does_by_hand(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]],
    photo: Path,
    name: str,
    preprocessor: str,
    settings: dict[str, Any],
    method: str,
    program: str,
) -> None:
    program = "import numpy\n" + program
    geometry = Geometry(32, 40, 36, 44, method)
    event, pixels = prepare(name, preprocessor, [photo], geometry, settings)
    expected = by_hand(name, program, photo)
    assert event["failed"] == []
    assert event["dtype"] == expected.dtype.name
    assert np.array_equal(pixels[0], expected)


@pytest.mark.parametrize(
    ("name", "preprocessor"), [(IMAGING, "opencv"), (TORCH, "torchvision"), (OLD, "tensorflow")]
)
def test_every_interpolation_is_done_and_no_two_are_the_same(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]],
    photo: Path,
    name: str,
    preprocessor: str,
) -> None:
    made = set()
    for method in ("nearest", "bilinear", "bicubic", "lanczos", "box"):
        _, pixels = prepare(name, preprocessor, [photo], Geometry(32, 40, 36, 44, method))
        made.add(pixels.tobytes())
    assert len(made) == 5


# What is not as in the reference: how it fails, or by how much it differs at most.
ODD = [
    (IMAGING, "pillow", {}, {}, {"grey16.png": 255.0}),
    (IMAGING, "opencv", {}, {}, {"cmyk.jpg": 2.0, "turned.jpg": 255.0}),
    (IMAGING, "opencv", {"exif": False}, {}, {"cmyk.jpg": 2.0}),
    (TORCH, "torchvision", {}, {}, {"grey16.png": 255.0}),
    (
        TENSORFLOW,
        "tensorflow",
        {"dct": "accurate"},
        {"rgb.tif": "Unknown image file format", "animated.webp": "must be 4 channel RGBA"},
        {"cmyk.jpg": 1.0},
    ),
    (
        OLD,
        "tensorflow",
        {"dct": "accurate"},
        dict.fromkeys(["rgb.tif", "rgb.webp", "animated.webp"], "Unknown image file format"),
        {"cmyk.jpg": 1.0},
    ),
]


@pytest.mark.parametrize(("name", "preprocessor", "settings", "fails", "differs"), ODD)
def test_every_sort_of_image_is_read_as_documented(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]],
    tmp_path: Path,
    name: str,
    preprocessor: str,
    settings: dict[str, Any],
    fails: dict[str, str],
    differs: dict[str, float],
) -> None:
    """At their own size, so that nothing is resized. docs/preprocessing.md has the table."""
    images = write_odd_images(tmp_path / "odd")
    event, pixels = prepare(name, preprocessor, images, AS_IT_IS, settings)
    failed = {images[entry["place"]].name: entry["reason"] for entry in event["failed"]}
    assert set(failed) == NEVER_READ | set(fails)
    for file, words in fails.items():
        assert words in failed[file]
    assert all(len(reason) < 250 for reason in failed.values())
    kept = [path for path in images if path.name not in failed]
    apart = {}
    for path, row in zip(kept, pixels, strict=True):
        largest = np.abs(row.astype(float) - image_pixels(path, AS_IT_IS)).max()
        if largest > 0:
            apart[path.name] = largest
    assert set(apart) == set(differs)
    for file, most in differs.items():
        assert apart[file] <= most


def test_files_that_nobody_can_read_are_those_of_the_reference(tmp_path: Path) -> None:
    failed = set()
    for path in write_odd_images(tmp_path / "odd"):
        try:
            image_pixels(path, AS_IT_IS)
        except ImageError:
            failed.add(path.name)
    assert failed == NEVER_READ


def test_opencv_turns_an_image_as_its_exif_data_say(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]], tmp_path: Path
) -> None:
    write_odd_images(tmp_path / "odd")
    images = [tmp_path / "odd" / "turned.jpg"]
    lying = Geometry(WIDTH, HEIGHT, WIDTH, HEIGHT, "bilinear")
    _, turned = prepare(IMAGING, "opencv", images, lying)
    _, plain = prepare(IMAGING, "opencv", images, AS_IT_IS, {"exif": False})
    assert np.array_equal(turned[0], np.rot90(plain[0], -1))


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    """Black in its first quarter, white in the others: 300 x 50 pixels."""
    pixels = np.zeros((50, 300, 3), np.uint8)
    pixels[:, 75:] = 255
    Image.fromarray(pixels).save(tmp_path / "edge.png")
    return tmp_path / "edge.png"


def test_tensorflow_leaves_the_range_of_pixels_where_it_overshoots(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]], edge: Path
) -> None:
    geometry = Geometry(40, 40, 46, 46, "bicubic")
    event, pixels = prepare(
        TENSORFLOW, "tensorflow", [edge], geometry, {"antialias": True}, squash=True
    )
    assert event["dtype"] == "float32"
    assert -30 < pixels.min() < 0
    assert 255 < pixels.max() < 285


def test_tensorflow_by_default_is_its_fast_transform(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]], photo: Path
) -> None:
    """The accurate one is everybody else's: the same bytes as Pillow's."""
    size = Geometry(160, 200, 160, 200, "bilinear")
    _, fast = prepare(TENSORFLOW, "tensorflow", [photo], size)
    _, accurate = prepare(TENSORFLOW, "tensorflow", [photo], size, {"dct": "accurate"})
    reference = image_pixels(photo, size)
    assert np.array_equal(accurate[0], reference)
    assert 0 < np.abs(fast[0] - reference).max() < 30
    assert np.array_equal(
        fast[0],
        by_hand(
            TENSORFLOW,
            "import tensorflow as tf\n"
            "pixels = tf.io.decode_image(tf.io.read_file(path), channels=3).numpy()",
            photo,
        ),
    )


@pytest.mark.parametrize(
    ("settings", "method", "words"),
    [
        ({"antialias": False}, "bilinear", "with tensor=true it can be left out"),
        ({"tensor": True}, "box", "(tensor=false) are resized by all"),
    ],
)
def test_torchvision_refuses_what_it_cannot_do(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]],
    photo: Path,
    settings: dict[str, Any],
    method: str,
    words: str,
) -> None:
    geometry = Geometry(32, 40, 36, 44, method)
    error, _ = prepare(TORCH, "torchvision", [photo], geometry, settings, refused=True)
    assert error["kind"] == "unsupported"
    assert words in error["message"]


def test_torchvisions_own_decoder_is_offered_only_where_it_loads(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]], photo: Path
) -> None:
    found = installed(TORCH).probe["preprocessors"]["torchvision"]
    if "torch" in found["offer"]["settings"]["decoder"]:
        _, own = prepare(TORCH, "torchvision", [photo], SHRUNK, {"decoder": "torch"})
        _, pillow = prepare(TORCH, "torchvision", [photo], SHRUNK)
        assert np.array_equal(own, pillow)
    else:
        assert "own decoder does not load here" in found["detail"]
        error, _ = prepare(
            TORCH, "torchvision", [photo], SHRUNK, {"decoder": "torch"}, refused=True
        )
        assert "own decoder does not load here" in error["message"]


@pytest.mark.parametrize(
    ("name", "preprocessor"),
    [(IMAGING, "opencv"), (TORCH, "torchvision"), (TENSORFLOW, "tensorflow")],
)
def test_squashing_keeps_no_aspect_and_crops_nothing(
    prepare: Callable[..., tuple[dict[str, Any], np.ndarray]],
    edge: Path,
    name: str,
    preprocessor: str,
) -> None:
    geometry = Geometry(40, 40, 46, 46, "bilinear")
    _, pixels = prepare(name, preprocessor, [edge], geometry, squash=True)
    assert pixels.shape == (1, 40, 40, 3)
    # The crop of an image that keeps its aspect would be white all over.
    assert (pixels[0, :, :8] == 0).all()
    assert (pixels[0, :, 12:] == 255).all()


@pytest.mark.parametrize("name", [IMAGING, TORCH, TENSORFLOW, OLD])
def test_an_environment_has_the_preprocessors_that_it_declares(name: str) -> None:
    made = installed(name)
    assert made.env.preparing.preprocessors != ()
    for preprocessor in made.env.preparing.preprocessors:
        found = made.probe["preprocessors"][preprocessor]
        assert found["ok"], found
        assert found["version"]
