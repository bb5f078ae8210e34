"""What the converters that run tf2onnx are asked for: operator set, layout, and shape of the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import TensorSpec, unsupported
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import conversion, fed_input, image_layout

OPSETS = tuple(range(9, 19))
"""tf2onnx 1.17 refuses 19; below 9 it lists weights among the inputs, where they can be overridden."""

DEFAULT_OPSET = 17
"""What every ONNX Runtime since 1.13 reads: tf2onnx writes IR version 8 for it."""

LAYOUTS = ("nhwc", "nchw")

_IMAGES = 4
_SEED = 0

OpenShape = Tuple[Optional[int], ...]


@dataclass(frozen=True)
class Request:
    """The options of a job. `layout` is None where the input stays as the source takes it."""

    batch: int
    item_shape: Optional[Tuple[int, ...]]
    opset: int
    layout: Optional[str]


def read(job: ConvertJob, name: str, source_format: str, options: Sequence[str]) -> Request:
    """The request of a job.

    Args:
        job: what is asked for.
        name: the converter's, for messages.
        source_format: that it reads.
        options: that it takes.

    Raises:
        RunnerError: kind `unsupported`, for another format, option, opset or layout; `job` for a
            bad size.
    """
    conversion.require_format(job, name, source_format)
    batch, item_shape = conversion.options_of(job, name, options)
    layout = job.options.get("layout")
    if layout is not None and layout not in LAYOUTS:
        raise unsupported(name, "layout", layout, LAYOUTS)
    opset = conversion.opset_of(job, name, OPSETS, DEFAULT_OPSET)
    return Request(batch, item_shape, opset, layout)


def signature(request: Request, spec: TensorSpec, name: str) -> OpenShape:
    """The shape to convert for: a batch that the source leaves open stays so, and nothing else.

    A source that does not say how many dimensions it takes is refused, with `item_shape` too.

    Raises:
        RunnerError: kind `unsupported`, if the source takes another shape, leaves more open, or is
            asked for a layout that only images have.
    """
    if spec.shape is None:
        raise RunnerError(
            "unsupported",
            f"{name}: the input {spec.name!r} takes anything, which leaves more than the batch open; "
            "save the model with a shape",
        )
    shape = fed_input.fed_shape(name, spec.name, spec.shape, request.batch, request.item_shape)
    if request.layout is not None and len(shape) != _IMAGES:
        raise RunnerError(
            "unsupported",
            f"{name}: the layout {request.layout} is one of images, and the input {spec.name!r} "
            f"takes {list(spec.shape)}: leave the layout out",
        )
    return fed_input.with_open_batch(shape, spec.shape)


def transposed(
    request: Request, called: str, shape: OpenShape, name: str, told: Optional[str] = None
) -> Request:
    """The request with the layout that the input is to be transposed to, None where it has it.

    Args:
        request: with the layout that is asked for.
        called: the input.
        shape: what it takes.
        name: the converter's, for messages.
        told: its layout by the source's own word, where the shape does not tell.

    Raises:
        RunnerError: kind `unsupported`, if nothing tells where the channels are, or they are first
            and are to be last.
    """
    if request.layout is None:
        return request
    axes = image_layout.axes(name, called, shape, request.layout, told)
    if axes == image_layout.TO_NHWC:
        raise RunnerError(
            "unsupported",
            f"{name}: the input {called!r} of {list(shape)} has its channels first, and tf2onnx "
            "transposes images with channels last only: leave the layout out",
        )
    return replace(request, layout=None if axes is None else "nchw")


def probe(request: Request, shape: OpenShape, dtype: str) -> np.ndarray:
    """An input as the source takes it: standard normal, or the integers that pixels have."""
    whole = (request.batch, *(size or 1 for size in shape[1:]))
    generator = np.random.Generator(np.random.PCG64(_SEED))
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        low, high = (-128, 128) if kind == np.int8 else (0, 100 if kind.itemsize > 1 else 256)
        return generator.integers(low, high, size=whole).astype(kind)
    return generator.standard_normal(whole).astype(kind)
