"""Checkpoints: how images and arrays fit a model's input, and what is said when they don't."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.datasets.recipes import PRESETS, Recipe
from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, Layout, check_array, input_plan
from harness.models.model_file import ModelFile, Shape, TensorSpec


def _checkpoint(
    shape: Shape | None,
    dtype: str = "float32",
    *,
    recipe: Recipe | None = PRESETS["torch"],
    scale: float | None = None,
    inputs: int = 1,
    form: str = "onnx",
    layout: Layout | None = None,
    default_size: int | None = None,
) -> Checkpoint:
    specs = tuple(
        TensorSpec(f"x{i}", dtype, shape, scale, None if scale is None else 3)
        for i in range(inputs)
    )
    file = ModelFile(
        Path(f"m.{form}"),
        form,
        "0" * 64,
        specs,
        (),
        17,
        8,
        (),
        1,  # type: ignore[arg-type]
        default_size=default_size,
    )
    return Checkpoint("m", file, recipe, layout=layout)


@pytest.mark.parametrize(
    ("shape", "form", "expected"),
    [
        ((None, 3, 224, 160), "onnx", ("NCHW", 224, 160, None)),
        ((8, 299, 299, 3), "onnx", ("NHWC", 299, 299, 8)),
        ((1, 3, None, None), "onnx", ("NCHW", 224, 224, 1)),
        ((None, None, None, 3), "onnx", ("NHWC", 224, 224, None)),
        ((None, None, 96, 96), "onnx", ("NCHW", 96, 96, None)),
        ((None, None, None, None), "onnx", ("NCHW", 224, 224, None)),
        ((None, None, None, None), "tflite", ("NHWC", 224, 224, None)),
        ((None, None, None, None), "keras", ("NHWC", 224, 224, None)),
        ((2, None, None, None), "savedmodel", ("NHWC", 224, 224, 2)),
        (None, "graphdef", ("NHWC", 224, 224, None)),
        ((1, 96, 128, 3), "graphdef", ("NHWC", 96, 128, 1)),
        ((None, 3, 64, 64), "keras", ("NCHW", 64, 64, None)),
        ((None, 3, None, None), "weights", ("NCHW", 224, 224, None)),
        ((None, 3, None, None), "keras_weights", ("NCHW", 224, 224, None)),
        (None, "onnx", ("NCHW", 224, 224, None)),
    ],
)
def test_layout_size_and_batch_follow_the_model(
    shape: Shape | None, form: str, expected: tuple[str, int, int, int | None]
) -> None:
    plan = input_plan(_checkpoint(shape, form=form))
    assert (plan.layout, plan.height, plan.width, plan.batch) == expected


def test_an_open_size_takes_the_recipes() -> None:
    recipe = Recipe(name="mine", size=(96, 128))
    plan = input_plan(_checkpoint((1, 3, None, None), recipe=recipe))
    assert (plan.height, plan.width) == (96, 128)
    with pytest.raises(ModelError, match="96 pixels high"):
        input_plan(_checkpoint((1, 3, 224, 224), recipe=recipe))


def test_an_open_size_without_a_recipes_is_the_architectures() -> None:
    checkpoint = _checkpoint((None, 3, None, None), form="weights", default_size=299)
    plan = input_plan(checkpoint)
    assert (plan.height, plan.width) == (299, 299)
    wanted = replace(checkpoint, recipe=Recipe(name="mine", size=(96, 128)))
    assert (input_plan(wanted).height, input_plan(wanted).width) == (96, 128)


def test_channels_first_or_last_must_be_told_where_both_may_be() -> None:
    with pytest.raises(ModelError, match="first or last"):
        input_plan(_checkpoint((1, 3, 8, 3)))
    assert input_plan(_checkpoint((1, 3, 8, 3), layout="NHWC")).height == 3


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((None, 1, 28, 28), r"x0 float32 \[\?, 1, 28, 28\]: it has no axis of 3 channels"),
        ((None, 4, 8, 8), "no axis of 3 channels"),
        ((None, 10), "four dimensions"),
        ((1, 3, 16, 224, 224), "four dimensions"),
        ((), "four dimensions"),
    ],
)
def test_a_shape_that_images_do_not_fit_is_refused_with_a_remedy(shape: Shape, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        input_plan(_checkpoint(shape))
    assert "--inputs" in str(caught.value)


@pytest.mark.parametrize("inputs", [0, 2])
def test_other_than_one_input_is_refused(inputs: int) -> None:
    with pytest.raises(ModelError, match=f"has {inputs} inputs"):
        input_plan(_checkpoint((1, 3, 8, 8), inputs=inputs))
    with pytest.raises(ModelError, match=f"has {inputs} inputs"):
        check_array(_checkpoint((1, 3, 8, 8), inputs=inputs), (9, 3, 8, 8), "float32")


@pytest.mark.parametrize(
    ("dtype", "scale", "recipe", "raw"),
    [
        ("float32", None, "tf", False),
        ("float16", None, "raw", False),
        ("uint8", 0.01, "tf", False),
        ("int8", 0.01, "raw", True),
        ("uint8", None, "raw", True),
        ("int32", None, "raw", False),
    ],
)
def test_types_that_can_be_fed(dtype: str, scale: float | None, recipe: str, raw: bool) -> None:
    plan = input_plan(_checkpoint((1, 8, 8, 3), dtype, recipe=PRESETS[recipe], scale=scale))
    assert (plan.dtype, plan.scale, plan.raw_quantised) == (dtype, scale, raw)
    assert plan.zero_point == (None if scale is None else 3)


@pytest.mark.parametrize(
    ("dtype", "recipe", "said"),
    [
        ("uint8", "tf", "--recipe raw"),
        ("int64", "torch", "--recipe raw"),
        ("bfloat16", "tf", "--inputs"),
        ("string", "raw", "--inputs"),
    ],
)
def test_types_that_cannot_be_fed_are_refused(dtype: str, recipe: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        input_plan(_checkpoint((1, 8, 8, 3), dtype, recipe=PRESETS[recipe]))
    assert said in str(caught.value)


def test_images_need_a_recipe() -> None:
    with pytest.raises(ModelError, match="no recipe"):
        input_plan(_checkpoint((1, 3, 8, 8), recipe=None))


@pytest.mark.parametrize(
    ("shape", "array", "dtype"),
    [
        ((None, 10), (5, 10), "float64"),
        ((1, 10), (500, 10), "float32"),
        ((None, None, 4), (5, 7, 4), "int32"),
        (None, (5, 7, 4), "float32"),
    ],
)
def test_arrays_that_fit(shape: Shape | None, array: tuple[int, ...], dtype: str) -> None:
    check_array(_checkpoint(shape, recipe=None), array, dtype)


@pytest.mark.parametrize(
    ("shape", "model_type", "array", "dtype"),
    [
        ((None, 10), "float32", (5, 11), "float32"),
        ((None, 10), "float32", (5, 10, 1), "float32"),
        ((None, 10), "int64", (5, 10), "float32"),
        ((None, 10), "string", (5, 10), "float32"),
    ],
)
def test_arrays_that_do_not_fit(
    shape: Shape, model_type: str, array: tuple[int, ...], dtype: str
) -> None:
    with pytest.raises(ModelError, match=r"takes x0 .* \[\?, 10\]"):
        check_array(_checkpoint(shape, model_type, recipe=None), array, dtype)


def test_fractions_may_go_into_a_quantised_input() -> None:
    check_array(_checkpoint((1, 10), "int8", scale=0.1, recipe=None), (5, 10), "float32")


def test_a_negative_class_offset_is_refused() -> None:
    file = _checkpoint((1, 3, 8, 8)).file
    with pytest.raises(ModelError, match="class offset -1"):
        Checkpoint("m", file, class_offset=-1)


@pytest.mark.parametrize("form", ["weights", "keras_weights"])
@pytest.mark.parametrize("side", [None, 224])
def test_weights_are_fed_channels_first_whatever_is_said(form: str, side: int | None) -> None:
    shape = (None, 3, side, side)
    with pytest.raises(ModelError, match="fed as NCHW"):
        input_plan(_checkpoint(shape, form=form, layout="NHWC", default_size=224))
    plan = input_plan(_checkpoint(shape, form=form, layout="NCHW", default_size=224))
    assert (plan.layout, plan.height, plan.width) == ("NCHW", 224, 224)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((None, 3, None, None), "NHWC"),
        ((None, None, None, 3), "NCHW"),
        ((1, 3, 224, 224), "NHWC"),
        ((1, 224, 224, 3), "NCHW"),
    ],
)
def test_a_layout_that_the_shape_contradicts_is_refused(shape: Shape, layout: Layout) -> None:
    with pytest.raises(ModelError, match=f"the layout {layout} is said, and the axis of 3"):
        input_plan(_checkpoint(shape, layout=layout))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_layout_decides_where_the_shape_allows_both(layout: Layout) -> None:
    assert input_plan(_checkpoint((1, 3, 64, 3), layout=layout)).layout == layout
    assert input_plan(_checkpoint((1, None, None, None), layout=layout)).layout == layout
