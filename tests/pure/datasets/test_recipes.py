"""Recipes: the presets' numbers, files, and the geometry that follows torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets.decode import resized_size
from harness.datasets.recipes import PRESETS, Recipe, geometry, load_recipe, normalisation
from harness.errors import ModelError


def _apply(name: str, pixel: tuple[float, float, float]) -> list[float]:
    document = normalisation(PRESETS[name])
    x = np.array(pixel, dtype=np.float32)
    if document["channels"] == "bgr":
        x = x[::-1]
    one = np.float32
    y = (x / one(document["divide"]) - one(document["subtract"])) / one(document["divide_after"])
    return [round(float(v), 4) for v in y]


def test_presets_give_the_values_of_the_design() -> None:
    pixel = (255.0, 127.5, 0.0)
    assert _apply("tf", pixel) == [1.0, 0.0, -1.0]
    assert _apply("raw", pixel) == [255.0, 127.5, 0.0]
    assert _apply("caffe", pixel) == [-103.939, 10.721, 131.32]
    assert _apply("torch", pixel) == [2.2489, 0.1964, -1.8044]


@pytest.mark.parametrize(("size", "short"), [(224, 256), (299, 342), (96, 110), (128, 146)])
def test_the_short_side_is_the_size_over_the_ratio_rounded(size: int, short: int) -> None:
    plan = geometry(PRESETS["torch"], size, size)
    assert (plan.resize_height, plan.resize_width) == (short, short)


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((500, 375), (341, 256)),
        ((375, 500), (256, 341)),
        ((256, 256), (256, 256)),
        ((300, 299), (256, 256)),
        ((1, 1000), (256, 256000)),
    ],
)
def test_the_long_side_is_cut_down_as_torchvision_does(
    size: tuple[int, int], resized: tuple[int, int]
) -> None:
    assert resized_size(*size, geometry(PRESETS["torch"], 224, 224)) == resized


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 1000), (333, 333)])
def test_an_oblong_input_is_covered(size: tuple[int, int]) -> None:
    width, height = resized_size(*size, geometry(PRESETS["torch"], 112, 224))
    assert width >= 224
    assert height >= 112


def test_a_recipe_file_is_read_from_toml_and_yaml(tmp_path: Path) -> None:
    toml, yaml = tmp_path / "mine.toml", tmp_path / "mine.yaml"
    toml.write_text('size = 299\nchannels = "BGR"\ndivide = 255\nmean = [0.5, 0.5, 0.5]\n')
    yaml.write_text("size: 299\nchannels: BGR\ndivide: 255\nmean: [0.5, 0.5, 0.5]\n")
    assert load_recipe(str(toml)) == load_recipe(yaml)
    recipe = load_recipe(toml)
    assert (recipe.name, recipe.size, recipe.mean) == ("mine", 299, (0.5, 0.5, 0.5))
    assert not recipe.is_identity


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sise = 299\n", "sise"),
        ("size = -3\n", "size"),
        ("std = [1, 1, 0]\n", "std"),
        ("mean = [1, 1]\n", "mean"),
        ("divide = 0\n", "divide"),
        ('interpolation = "cubic"\n', "interpolation"),
        ("resize_ratio = 2\n", "resize_ratio"),
        ("size = \n", "cannot be read"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=said):
        load_recipe(path)


def test_an_unknown_name_lists_the_presets() -> None:
    with pytest.raises(ModelError, match="pytorch") as caught:
        load_recipe("pytorch")
    assert "caffe, raw, tf, torch" in str(caught.value)
    with pytest.raises(ModelError, match="Cannot read"):
        load_recipe("absent.toml")


@pytest.mark.parametrize(("size", "resize"), [(224, 232), (299, 342), (224, 256), (224, 224)])
def test_the_short_side_can_be_given_in_pixels(tmp_path: Path, size: int, resize: int) -> None:
    path = tmp_path / "weights.toml"
    path.write_text(f'size = {size}\nresize = {resize}\ninterpolation = "bicubic"\n')
    recipe = load_recipe(path)
    plan = geometry(recipe, size, size)
    assert (plan.resize_height, plan.resize_width) == (resize, resize)
    assert plan.interpolation == "bicubic"
    assert Recipe.model_validate(recipe.model_dump()) == recipe


def test_of_an_oblong_input_the_shorter_side_becomes_the_given_pixels() -> None:
    plan = geometry(Recipe(name="wide", resize=128), 112, 224)
    assert (plan.resize_height, plan.resize_width) == (128, 256)


def test_one_of_both_ways_to_resize_is_given(tmp_path: Path) -> None:
    path = tmp_path / "both.yaml"
    path.write_text("resize: 232\nresize_ratio: 0.875\n")
    with pytest.raises(ModelError, match="is not valid: give resize or resize_ratio, not both"):
        load_recipe(path)
    path.write_text("resize_ratio: null\n")
    with pytest.raises(ModelError, match="give one of resize"):
        load_recipe(path)
    path.write_text("resize: 0\n")
    with pytest.raises(ModelError, match="not valid at resize"):
        load_recipe(path)


def test_a_resize_below_the_input_is_refused() -> None:
    recipe = Recipe(name="small", resize=256)
    with pytest.raises(ModelError, match="256 pixels, which is less than the input of 299 x 299"):
        geometry(recipe, 299, 299)
    assert geometry(recipe, 256, 256).resize_height == 256


def test_squashing_resizes_straight_to_the_input() -> None:
    plan = geometry(PRESETS["torch"], 112, 224, squash=True)
    assert resized_size(500, 375, plan) == (224, 112)
    assert plan.document() == {
        "height": 112,
        "width": 224,
        "resize_height": 112,
        "resize_width": 224,
        "interpolation": "bilinear",
        "squash": True,
    }


def test_what_is_not_squashed_keeps_the_document_of_its_key() -> None:
    assert geometry(PRESETS["torch"], 224, 224).document() == {
        "height": 224,
        "width": 224,
        "resize_height": 256,
        "resize_width": 256,
        "interpolation": "bilinear",
    }


@pytest.mark.parametrize("suffix", ["toml", "yaml"])
def test_a_file_that_is_nested_without_end_or_too_large_is_refused(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"mine.{suffix}"
    path.write_text(("x = " if suffix == "toml" else "") + "[" * 5000)
    with pytest.raises(ModelError, match="nested too deeply"):
        load_recipe(path)
    path.write_text("#" + "x" * (1 << 20))
    with pytest.raises(ModelError, match="larger than 1 MiB"):
        load_recipe(path)


def test_a_date_that_there_is_not_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("size: 2020-13-45\n")
    with pytest.raises(ModelError, match="cannot be read"):
        load_recipe(path)
