"""What onnx2tf makes of an ONNX model, as one function of TensorFlow, with the layouts of its ends.

onnx2tf 1.29 builds a model of Keras 2. It runs here without saving that, and TensorFlow writes the
file: by itself it would write two to eight, and calibrate for half of them with pictures that it
downloads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    image_layout,
    onnx2tf_source,
    onnx2tf_tool,
    tensorflow_freeze,
    tensorflow_trace,
)
from runner.support.onnx2tf_source import OpenShape

PACKAGES = (
    "onnx2tf",
    "tensorflow",
    "tensorflow-cpu",
    "tf-keras",
    "onnx",
    "onnxsim",
    "onnxruntime",
    "numpy",
)
OPTIONS = ("batch", "item_shape", "folding", "layout")
_LAYOUTS = ("nhwc", "nchw")
_FAR = 1e-2
"""Of the largest answer: what no rounding explains, for a batch that is left open."""

Axes = Optional[Tuple[int, ...]]


@dataclass(frozen=True)
class Made:
    """A converted model.

    Attributes:
        model: from a tensor to a list of tensors, without variables.
        probe: a seeded input as the model takes it.
        expected: what the source answers to it.
        input_axes: how the source's input is transposed to become the model's.
        output_axes: how each output is transposed to become the source's.
    """

    model: tensorflow_trace.Model
    probe: np.ndarray
    expected: Tuple[np.ndarray, ...]
    input_axes: Axes
    output_axes: Tuple[Axes, ...]

    def difference(self, got: Sequence[np.ndarray]) -> Optional[float]:
        """The largest of a file's answers to those of the source."""
        turned = [one if a is None else one.transpose(a) for one, a in zip(got, self.output_axes)]
        return conversion.largest_difference(self.expected, turned)


def make(job: ConvertJob, name: str, open_batch: bool) -> Made:
    """Convert the source of a job.

    Args:
        job: its options are `OPTIONS`.
        name: the converter's.
        open_batch: leave the batch open, where the source does and answers for one batch more are
            those of the source; else it is fixed.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that onnx2tf has not got; `model`
            if the source can't be read; `conversion` if onnx2tf fails or answers in another shape.
    """
    batch, item_shape = conversion.options_of(job, name, OPTIONS)
    folding = job.options.get("folding", True)
    if not isinstance(folding, bool):
        raise unsupported(name, "folding", folding, ("true", "false"))
    source = conversion.read_onnx(job, name)
    shape = conversion.fed_shape(source, batch, item_shape, name)
    probe = conversion.seeded_input(source, batch, item_shape, name)
    turned = _is_turned(job, name, source, shape)
    axes: Axes = (0, *range(2, len(shape)), 1) if turned else None
    feeds = [probe]
    if open_batch and conversion.graph_input(source, name).type.tensor_type.shape.dim[0].dim_value:
        open_batch = False
    if open_batch:
        feeds.append(np.concatenate([probe, probe[::-1][:1]]))
    expected = _expected(source, feeds, job, name)
    if open_batch:
        try:
            made = _made(job, name, source, (None, *shape[1:]), feeds, expected, axes, folding)
        except RunnerError as error:
            if error.kind != "conversion":
                raise
            print(f"runner: {name}: the batch is fixed, for left open: {error}", flush=True)
        else:
            return made
    return _made(job, name, source, shape, feeds[:1], expected[:1], axes, folding)


def _is_turned(job: ConvertJob, name: str, source: Any, shape: Tuple[int, ...]) -> bool:
    """Whether the channels of the input are moved from the first place to the last.

    Raises:
        RunnerError: kind `unsupported`, for a layout that can't be had, or nobody knows whether it
            is there already.
    """
    layout = job.options.get("layout", _LAYOUTS[0])
    if layout not in _LAYOUTS:
        raise unsupported(name, "layout", layout, _LAYOUTS)
    first = onnx2tf_source.channels_first(source, name)
    if layout == "nchw" and not first:
        raise RunnerError(
            "unsupported",
            f"{name}: the source does not take images with the channels first, and onnx2tf leaves "
            "such an input as it is: leave out layout",
        )
    if "layout" in job.options and not first and image_layout.layout_of(shape) != layout:
        why = f"nothing tells where the channels of its input {list(shape)} are"
        raise unsupported(name, "layout", layout, (), why=why)
    return first and layout == "nhwc"


def _expected(
    source: Any, feeds: Sequence[np.ndarray], job: ConvertJob, name: str
) -> List[List[np.ndarray]]:
    try:
        return onnx2tf_source.answers(source, feeds, job.threads, name)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: ONNX Runtime, which onnx2tf needs, can't run {job.source}: "
        raise RunnerError(failed.kind, message + failed.message, failed.detail) from error


def _made(
    job: ConvertJob,
    name: str,
    source: Any,
    shape: OpenShape,
    feeds: Sequence[np.ndarray],
    expected: Sequence[List[np.ndarray]],
    axes: Axes,
    folding: bool,
) -> Made:
    """Convert for one shape, and look at the answers to every feed."""
    # Before onnx2tf, which starts TensorFlow with as many threads as there are.
    tf = tensorflow_trace.start(job.threads)
    keras_model = onnx2tf_tool.convert(job, name, source, shape, axes is not None, folding)
    model = _without_variables(tf, keras_model, shape, axes, str(feeds[0].dtype))
    turned = [np.ascontiguousarray(fed if axes is None else fed.transpose(axes)) for fed in feeds]
    try:
        got = [[tensor.numpy() for tensor in model.step(tf.constant(fed))] for fed in turned]
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: what onnx2tf made can't be run: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    if len(got[0]) != len(expected[0]):
        message = f"{name}: onnx2tf made {len(got[0])} outputs of {len(expected[0])}"
        raise RunnerError("conversion", message)
    output_axes = tuple(
        output_layout(want, one, f"{name}: output {place}")
        for place, (want, one) in enumerate(zip(expected[0], got[0]))
    )
    for wanted, given in zip(expected[1:], got[1:]):
        _require_near(wanted, given, output_axes)
    return Made(model, turned[0], tuple(expected[0]), axes, output_axes)


def output_layout(wanted: np.ndarray, got: np.ndarray, what: str) -> Axes:
    """How an output is transposed to become the source's: not at all, or channels to the front.

    Told by the answers: shapes alone do not tell where channels are as many as rows.

    Raises:
        RunnerError: kind `conversion`, if neither has the shape of the source's.
    """
    rank = got.ndim
    choices: List[Axes] = [None]
    if rank >= 3:
        choices.append((0, rank - 1, *range(1, rank - 1)))
    fitting = [
        (float(np.abs(np.subtract(wanted, one, dtype=np.float64)).max(initial=0.0)), place)
        for place, axes in enumerate(choices)
        for one in [got if axes is None else got.transpose(axes)]
        if one.shape == wanted.shape
    ]
    if not fitting:
        raise RunnerError(
            "conversion",
            f"{what} has the shape {list(got.shape)} and the source's is {list(wanted.shape)}: "
            "onnx2tf misread a layout; use another converter",
        )
    return choices[min(fitting)[1]]


def _require_near(
    wanted: Sequence[np.ndarray], got: Sequence[np.ndarray], axes: Sequence[Axes]
) -> None:
    turned = [one if a is None else one.transpose(a) for one, a in zip(got, axes)]
    difference = conversion.largest_difference(wanted, turned)
    largest = max(float(np.abs(one).max(initial=0.0)) for one in wanted)
    if difference is None or difference > _FAR * max(largest, 1.0):
        message = f"for another batch the largest difference to the source is {difference}"
        raise RunnerError("conversion", message)


def _without_variables(
    tf: Any, keras_model: Any, shape: OpenShape, axes: Axes, dtype: str
) -> tensorflow_trace.Model:
    def step(fed: Any) -> List[Any]:
        result = keras_model(fed, training=False)
        return list(result) if isinstance(result, (list, tuple)) else [result]

    taken = shape if axes is None else tuple(shape[axis] for axis in axes)
    model = tensorflow_trace.Model(tf, step, dtype, taken)
    function, count = tensorflow_trace.traced(model)
    frozen = tensorflow_freeze.frozen(function)

    def constant(fed: Any) -> List[Any]:
        return list(frozen(fed))[:count]

    return tensorflow_trace.Model(tf, constant, dtype, taken)
