"""Checkpoints: a model file with the recipe, classes and kind of scores that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.datasets.recipes import Recipe, normalisation
from harness.errors import ModelError
from harness.models.model_file import NEED_ARCHITECTURE, ModelFile, TensorSpec

OutputKind = Literal["auto", "logits", "probabilities", "values"]
Layout = Literal["NCHW", "NHWC"]
DEFAULT_SIZE = 224

_CHANNELS_LAST = ("tflite", "keras", "savedmodel", "graphdef")
"""Formats of TensorFlow's family; weights are fed NCHW, those of Keras too."""
_REAL = ("float16", "float32", "float64")
_INTEGER = ("uint8", "int8", "uint16", "int16", "int32", "int64")
_AS_ARRAYS = "Give the inputs as an array instead, with --inputs X.npy."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model file and what belongs to it.

    Attributes:
        name: how it is called in results.
        file: the model file.
        recipe: how an image becomes an input; None where inputs are given as arrays.
        class_offset: how many outputs stand before class 0 (1 with a background class).
        output: what the scores are; `auto` looks at them.
        layout: of an image input; None reads it from the model's shape.
    """

    name: str
    file: ModelFile
    recipe: Recipe | None = None
    class_offset: int = 0
    output: OutputKind = "auto"
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.class_offset < 0:
            raise ModelError(
                f"The class offset {self.class_offset} of {self.name} is negative.",
                "It counts the outputs before class 0: --class-offset 1 with a background class.",
            )


@dataclass(frozen=True, slots=True)
class InputPlan:
    """How prepared pixels are fed to a model.

    Attributes:
        name: of the model's input.
        height: in pixels.
        width: in pixels.
        layout: NCHW or NHWC.
        dtype: of the model's input, NumPy's name.
        batch: the fixed batch of the model, None where it is open.
        scale: of a quantised input.
        zero_point: likewise.
        raw_quantised: feed the pixels' integers straight (int8: minus 128), not through `scale`.
        normalise: the runner's normalisation document.
    """

    name: str
    height: int
    width: int
    layout: Layout
    dtype: str
    batch: int | None
    scale: float | None
    zero_point: int | None
    raw_quantised: bool
    normalise: dict[str, Any]


def input_plan(checkpoint: Checkpoint) -> InputPlan:
    """Fit a checkpoint's recipe to its model's input.

    Height and width are the model's; where it leaves them open the recipe's size, else those
    that its architecture was made for, else 224.

    Raises:
        ModelError: no recipe, or an input that images prepared by it do not fit.
    """
    recipe = checkpoint.recipe
    if recipe is None:
        raise ModelError(
            f"{checkpoint.name} has no recipe, so images cannot be prepared for it.",
            "Give --recipe tf, torch, caffe, raw or a file (README: which one a model wants).",
        )
    spec = _only_input(checkpoint)
    shape = spec.shape
    _check_layout(checkpoint, spec)
    if shape is None:
        layout = checkpoint.layout or _usual_layout(checkpoint)
        batch = height = width = None
    elif len(shape) != 4:
        raise _misfit(checkpoint, spec, "an image input has four dimensions", _AS_ARRAYS)
    else:
        layout = checkpoint.layout or _layout_of(checkpoint, spec, shape)
        batch = shape[0]
        channels, height, width = (
            (shape[1], shape[2], shape[3]) if layout == "NCHW" else (shape[3], shape[1], shape[2])
        )
        if channels not in {3, None}:
            raise _misfit(
                checkpoint, spec, f"as {layout} it has {channels} channels, not 3", _AS_ARRAYS
            )
    wanted = _recipe_size(recipe)
    for side, model_side, recipe_side in (
        ("high", height, wanted and wanted[0]),
        ("wide", width, wanted and wanted[1]),
    ):
        if model_side is not None and recipe_side is not None and model_side != recipe_side:
            raise _misfit(
                checkpoint,
                spec,
                f"the recipe {recipe.name} makes images {recipe_side} pixels {side}",
                "Leave `size` out of the recipe: it is only for models of open size.",
            )
    _check_dtype(checkpoint, spec, recipe)
    usual = checkpoint.file.default_size or DEFAULT_SIZE
    fallback = wanted or (usual, usual)
    return InputPlan(
        name=spec.name,
        height=height or fallback[0],
        width=width or fallback[1],
        layout=layout,
        dtype=spec.dtype,
        batch=batch,
        scale=spec.scale,
        zero_point=spec.zero_point,
        raw_quantised=recipe.is_identity and spec.dtype in {"uint8", "int8"},
        normalise=normalisation(recipe),
    )


def check_array(
    checkpoint: Checkpoint, array_shape: Sequence[int], dtype: str | np.dtype[Any]
) -> None:
    """Check that the rows of an array [N, ...] can be fed to a checkpoint's model.

    Raises:
        ModelError: several inputs, another shape than the model's, or values of another kind.
    """
    spec = _only_input(checkpoint)
    shown = f"an array {np.dtype(dtype)} {list(array_shape)}"
    if spec.shape is not None:
        fits = len(spec.shape) == len(array_shape) and all(
            want is None or want == have
            for want, have in zip(spec.shape[1:], array_shape[1:], strict=True)
        )
        if not fits:
            raise _misfit(
                checkpoint,
                spec,
                f"{shown} does not fit",
                "The first axis counts the inputs; the others must be the model's.",
            )
    kind = np.dtype(dtype).kind
    if spec.dtype in _INTEGER and spec.scale is None and kind == "f":
        raise _misfit(
            checkpoint, spec, f"{shown} holds fractions", f"Save the array as {spec.dtype}."
        )
    if spec.dtype not in (*_REAL, *_INTEGER, "bool"):
        raise _misfit(checkpoint, spec, f"inputs of type {spec.dtype} cannot be fed today")


def _only_input(checkpoint: Checkpoint) -> TensorSpec:
    inputs = checkpoint.file.inputs
    if len(inputs) != 1:
        shown = "; ".join(spec.shown() for spec in inputs) or "none"
        raise ModelError(
            f"{checkpoint.file.path} has {len(inputs)} inputs ({shown}).",
            "Models with exactly one input can be run today: fix the others as constants.",
        )
    return inputs[0]


def _check_layout(checkpoint: Checkpoint, spec: TensorSpec) -> None:
    """Refuse a layout that is said and that the file's own format or shape contradicts."""
    said, shape = checkpoint.layout, spec.shape
    if said is None:
        return
    if checkpoint.file.format in NEED_ARCHITECTURE and said != "NCHW":
        raise _misfit(
            checkpoint,
            spec,
            f"weights are fed as NCHW in every framework, and the layout {said} is said",
            "Leave the layout out.",
        )
    if shape is None or len(shape) != 4:
        return
    channels, other = (shape[1], shape[3]) if said == "NCHW" else (shape[3], shape[1])
    if channels != 3 and other == 3:
        raise _misfit(
            checkpoint,
            spec,
            f"the layout {said} is said, and the axis of 3 channels is another one",
            "Leave the layout out: the shape tells.",
        )


def _layout_of(checkpoint: Checkpoint, spec: TensorSpec, shape: Sequence[int | None]) -> Layout:
    first, last = shape[1] == 3, shape[3] == 3
    if first and last:
        raise _misfit(
            checkpoint, spec, "channels may be first or last", "State the layout in the sweep file."
        )
    if first or last:
        return "NCHW" if first else "NHWC"
    if shape[1] is None and shape[3] is None:
        return _usual_layout(checkpoint)
    if shape[1] is None:
        return "NCHW"
    if shape[3] is None:
        return "NHWC"
    raise _misfit(checkpoint, spec, "it has no axis of 3 channels for RGB images", _AS_ARRAYS)


def _usual_layout(checkpoint: Checkpoint) -> Layout:
    return "NHWC" if checkpoint.file.format in _CHANNELS_LAST else "NCHW"


def _recipe_size(recipe: Recipe) -> tuple[int, int] | None:
    return (recipe.size, recipe.size) if isinstance(recipe.size, int) else recipe.size


def _check_dtype(checkpoint: Checkpoint, spec: TensorSpec, recipe: Recipe) -> None:
    if spec.dtype in _REAL or (spec.dtype in {"uint8", "int8"} and spec.scale is not None):
        return
    if spec.dtype in _INTEGER:
        if recipe.is_identity:
            return
        raise _misfit(
            checkpoint,
            spec,
            f"the recipe {recipe.name} gives fractions",
            "Use --recipe raw for a model that takes pixel values.",
        )
    raise _misfit(checkpoint, spec, f"images cannot be fed as {spec.dtype}", _AS_ARRAYS)


def _misfit(checkpoint: Checkpoint, spec: TensorSpec, reason: str, remedy: str = "") -> ModelError:
    return ModelError(f"{checkpoint.file.path} takes {spec.shown()}: {reason}.", remedy)
