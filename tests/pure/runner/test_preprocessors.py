"""Preprocessors: sizes, crop, settings, and Pillow's against the orchestrator's own preparation."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.odd_images import rough, write_odd_images

from harness.datasets import decode
from harness.datasets.recipes import Geometry as OrchestratorsGeometry
from runner import preprocessors
from runner.errors import RunnerError
from runner.prepare_jobs import Geometry
from runner.preprocessors import base, pillow
from runner.preprocessors.base import ImageError, crop, header_of, target_size

GEOMETRY = Geometry(32, 32, 37, 37, "bilinear")
DEFAULTS = {"draft": False, "reducing_gap": "none"}


@pytest.mark.parametrize("resize", [(37, 37), (256, 342), (50, 20)])
def test_sizes_are_those_of_the_orchestrator(resize: tuple[int, int]) -> None:
    ours = Geometry(1, 1, *resize, "bilinear")
    theirs = OrchestratorsGeometry(1, 1, *resize, "bilinear")
    drawn = np.random.default_rng(5).integers(1, 900, (500, 2))
    for width, height in [*drawn.tolist(), (37, 37), (342, 256)]:
        assert target_size(width, height, ours) == decode.resized_size(width, height, theirs)


def test_the_bound_is_that_of_the_orchestrator() -> None:
    assert base.MAX_PIXELS == decode.MAX_PIXELS


def test_squashing_takes_the_size_of_the_crop() -> None:
    assert target_size(500, 100, Geometry(32, 48, 99, 99, "bilinear", squash=True)) == (48, 32)


def test_a_long_and_narrow_image_is_refused_before_it_is_resized() -> None:
    with pytest.raises(ImageError, match="too long and narrow: 1 x 60000 pixels"):
        target_size(1, 60000, Geometry(224, 224, 256, 256, "bilinear"))


def test_the_crop_begins_at_the_lower_pixel_where_the_margin_is_odd() -> None:
    rows = np.arange(9 * 8 * 3).reshape(9, 8, 3)
    assert np.array_equal(crop(rows, Geometry(4, 5, 8, 8, "box")), rows[2:6, 1:6])


def test_an_empty_file_and_a_huge_image_are_refused_by_their_bytes(tmp_path: Path) -> None:
    write_odd_images(tmp_path / "odd")
    for name, words in (
        ("empty.jpg", "empty"),
        ("huge.jpg", "89478485 pixels"),
        ("huge.png", "89478485 pixels"),
    ):
        with pytest.raises(ImageError, match=words):
            header_of((tmp_path / "odd" / name).read_bytes())


def test_pillow_gives_what_the_orchestrator_prepares(tmp_path: Path) -> None:
    for method in ("nearest", "bilinear", "bicubic", "lanczos", "box"):
        for seed, size in enumerate([(101, 67), (50, 90), (37, 37)]):
            path = tmp_path / f"{seed}.png"
            rough(*size, seed).save(path)
            expected = decode.image_pixels(path, OrchestratorsGeometry(32, 32, 37, 37, method))
            got = pillow.decode_and_fit(
                path.read_bytes(), Geometry(32, 32, 37, 37, method), DEFAULTS
            )
            assert got.dtype == np.uint8
            assert np.array_equal(got, expected), (method, size)


def test_pillow_squashes(tmp_path: Path) -> None:
    rough(101, 67).save(tmp_path / "a.png")
    expected = np.asarray(rough(101, 67).resize((48, 32), Image.Resampling.BICUBIC))
    squash = Geometry(32, 48, 37, 37, "bicubic", squash=True)
    got = pillow.decode_and_fit((tmp_path / "a.png").read_bytes(), squash, DEFAULTS)
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("changed", [{"draft": True}, {"reducing_gap": 2.0}])
def test_each_of_pillows_shortcuts_changes_pixels_a_little(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    rough(640, 480).save(tmp_path / "a.jpg", quality=95)
    data = (tmp_path / "a.jpg").read_bytes()
    plain = pillow.decode_and_fit(data, GEOMETRY, DEFAULTS).astype(int)
    other = pillow.decode_and_fit(data, GEOMETRY, {**DEFAULTS, **changed}).astype(int)
    assert 0 < np.abs(plain - other).mean() < 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut.jpg", "truncated"),
        ("cut.png", "truncated"),
        ("text.jpg", "not an image in a known format"),
        ("huge.jpg", "more than 89478485 pixels"),
    ],
)
def test_pillow_says_why_an_image_has_no_pixels(tmp_path: Path, name: str, words: str) -> None:
    write_odd_images(tmp_path / "odd")
    with pytest.raises(ImageError, match=words):
        pillow.decode_and_fit((tmp_path / "odd" / name).read_bytes(), GEOMETRY, DEFAULTS)


def test_settings_have_defaults_and_unknown_ones_are_refused() -> None:
    assert preprocessors.effective("pillow", pillow, {}) == DEFAULTS
    chosen = preprocessors.effective("pillow", pillow, {"reducing_gap": 2, "draft": True})
    assert chosen == {"draft": True, "reducing_gap": 2.0}
    for asked, words in (
        ({"gap": 2}, "setting 'gap' .*draft, reducing_gap"),
        ({"draft": 1}, "value of draft 1"),
        ({"reducing_gap": 4}, "value of reducing_gap 4 .*none, 2.0, 3.0"),
    ):
        with pytest.raises(RunnerError, match=words) as caught:
            preprocessors.effective("pillow", pillow, asked)
        assert caught.value.kind == "unsupported"


def test_a_setting_that_lacks_a_value_here_says_why() -> None:
    module = SimpleNamespace(SETTINGS={"decoder": ("pil",)}, DETAILS={"decoder": "no image.so"})
    with pytest.raises(RunnerError, match=r"'torch' .*pil.*no image\.so"):
        preprocessors.effective("x", module, {"decoder": "torch"})  # type: ignore[arg-type]


def test_the_runner_knows_its_own_and_refuses_others() -> None:
    assert set(preprocessors.names()) >= {"pillow", "opencv", "torchvision", "tensorflow"}
    assert "base" not in preprocessors.names()
    with pytest.raises(RunnerError, match=r"preprocessor 'turbojpeg' .*opencv"):
        preprocessors.load("turbojpeg")


def test_a_probe_tells_the_version_and_the_settings() -> None:
    found = preprocessors.probe("pillow")
    assert found["ok"] is True
    assert found["version"] == pillow.PIL.__version__
    assert found["offer"]["settings"]["reducing_gap"] == ["none", 2.0, 3.0]


def test_a_probe_of_what_is_absent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "runner.preprocessors.opencv", raising=False)
    found = preprocessors.probe("opencv")
    assert (found["ok"], found["offer"]) == (False, None)
    assert "opencv does not import in this environment" in found["detail"]
    with pytest.raises(RunnerError, match="does not import"):
        preprocessors.load("opencv")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution on the path that declares the preprocessor `dali` and another `pillow`."""
    (tmp_path / "harness_dali.py").write_text(
        "SETTINGS = {'device': ('cpu', 'mixed')}\n"
        "def versions():\n    return {'dali': '1.53'}\n"
        "def decode_and_fit(data, geometry, settings):\n    raise ValueError(data)\n"
    )
    info = tmp_path / "harness_dali-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-dali\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[harness.preprocessors]\ndali = harness_dali\npillow = harness_dali\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "harness_dali", raising=False)
    return tmp_path


def test_an_environment_brings_a_preprocessor_by_an_entry_point(installed: Path) -> None:
    found = preprocessors.probe("dali")
    assert (found["ok"], found["version"]) == (True, "1.53")
    assert found["offer"] == {"settings": {"device": ["cpu", "mixed"]}}
    module: ModuleType = preprocessors.load("pillow")
    assert module is pillow
