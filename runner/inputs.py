"""From prepared rows to what the model takes: channels, normalisation, layout, dtype.

Every environment runs this same code on the same bytes, in float32 and in one fixed order, so that
no difference between two cells comes from here.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from runner.backends.base import TensorSpec
from runner.errors import RunnerError
from runner.jobs import Axes, Inputs, Normalise
from runner.support.npy_rows import load_rows

_FLOATS = ("float16", "float32", "float64")


def open_rows(inputs: Inputs) -> np.ndarray:
    """The first `count` rows of the `.npy` file, memory-mapped read-only: [count, ...].

    Raises:
        RunnerError: kind `job`, for a file that is absent, truncated, pickled, an archive, too short,
            or not what its kind says.
    """
    rows = load_rows(inputs.path)
    if len(rows) < inputs.count:
        message = f"inputs {inputs.path} hold {len(rows)} rows and the job names {inputs.count}"
        raise RunnerError("job", message)
    is_pixels = rows.ndim == 4 and rows.shape[3] == 3 and rows.dtype.name in ("uint8", "float32")
    if inputs.kind == "pixels" and not is_pixels:
        raise RunnerError(
            "job",
            "pixels must be uint8 or float32 [N, H, W, 3], and "
            f"{inputs.path} holds {rows.dtype.name} {list(rows.shape)}",
        )
    return rows[: inputs.count]


def fed_item_shape(inputs: Inputs, rows: np.ndarray, axes: Axes = None) -> Tuple[int, ...]:
    """The shape of one input as the model will get it, without the batch.

    Args:
        inputs: how rows become inputs.
        rows: [N, ...].
        axes: the transposition of `prepare`.

    Raises:
        RunnerError: kind `unsupported`, if `axes` are for inputs of another rank.
    """
    item = tuple(int(size) for size in rows.shape[1:])
    if inputs.kind == "pixels" and inputs.swap_sides:
        item = (item[1], item[0], item[2])
    if inputs.kind == "pixels" and inputs.layout == "NCHW":
        item = (item[2], item[0], item[1])
    if axes is None:
        return item
    if len(axes) != len(item) + 1:
        raise RunnerError(
            "unsupported",
            f"the converted model takes inputs of {len(axes)} dimensions and the cell feeds "
            f"{len(item) + 1}: give arrays of the source model's own shape",
        )
    return tuple(item[axis - 1] for axis in axes[1:])


def check_fit(spec: TensorSpec, item_shape: Tuple[int, ...], batch: int) -> None:
    """Refuse inputs that the model's declared shape excludes, in words that say how to mend it.

    Raises:
        RunnerError: kind `unsupported`, for a fixed batch of another size or another item shape.
    """
    if spec.shape is None:
        return
    fed = (batch,) + item_shape
    if len(spec.shape) != len(fed):
        raise _misfit(spec, fed)
    if spec.shape[0] not in (None, batch):
        raise RunnerError(
            "unsupported",
            f"the model's input {spec.name!r} has a fixed batch of {spec.shape[0]} and the cell "
            f"asks for {batch}: ask for batch {spec.shape[0]}, or export the model with a dynamic "
            "batch",
        )
    if any(size not in (None, got) for size, got in zip(spec.shape[1:], item_shape)):
        raise _misfit(spec, fed)


def prepare(rows: np.ndarray, inputs: Inputs, spec: TensorSpec, axes: Axes = None) -> np.ndarray:
    """Rows as stored to the model's input: contiguous, [B, ...], of the model's dtype.

    Args:
        rows: [B, ...] as stored.
        inputs: how rows become inputs.
        spec: the model's input.
        axes: a transposition in the end, where a conversion changed the input's layout.

    Raises:
        RunnerError: kind `unsupported`, for a dtype that these rows can't become.
    """
    integer = np.dtype(spec.dtype).kind in "iu"
    if inputs.kind == "pixels":
        if inputs.swap_sides:
            rows = rows.transpose(0, 2, 1, 3)
        if integer and inputs.raw_quantised:
            if inputs.normalise is not None and inputs.normalise.channels == "bgr":
                rows = rows[..., ::-1]
            real = _raw_integers(rows, spec)
        else:
            real = normalise(rows, inputs.normalise)
        if inputs.layout == "NCHW":
            real = real.transpose(0, 3, 1, 2)
    else:
        real = np.asarray(rows)
    if axes is not None:
        real = real.transpose(axes)
    return _in_memory(_cast(real, spec))


def normalise(rows: np.ndarray, how: Optional[Normalise]) -> np.ndarray:
    """Pixels [B, H, W, 3] to float32: channels in order, then (x / divide - subtract) / after.

    Each step is one float32 operation in this order. Folding them into a multiply and an add would
    be faster and round differently.
    """
    if how is None:
        return rows.astype(np.float32)
    real = (rows[..., ::-1] if how.channels == "bgr" else rows).astype(np.float32)
    real /= np.asarray(how.divide, dtype=np.float32)
    real -= np.asarray(how.subtract, dtype=np.float32)
    real /= np.asarray(how.divide_after, dtype=np.float32)
    return real


_TIE = 1e-3
"""In quantisation steps: far above float32 noise, far below what a rounding can change."""


def quantise(real: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """round(x / scale) + zero_point, halves up, clipped to the range of the dtype.

    A recipe may put every pixel on a half (x / 127.5 - 1 with a zero point of 127 does). Rounding
    halves to even would then merge neighbouring values, and float32 noise would choose which, so
    what is within `_TIE` of a half counts as one.
    """
    info = np.iinfo(spec.dtype)
    steps = np.floor(real.astype(np.float64) / float(spec.scale) + (0.5 + _TIE))
    stored: np.ndarray = np.clip(steps + (spec.zero_point or 0), info.min, info.max)
    return stored.astype(spec.dtype)


def dequantise(stored: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """(stored - zero_point) * scale in float32; float outputs become float32; others stay.

    A bool output becomes uint8, so that every file holds numbers.
    """
    if spec.scale is not None and stored.dtype.kind in "iu":
        centred = stored.astype(np.int32) - np.int32(spec.zero_point or 0)
        real: np.ndarray = centred.astype(np.float32) * np.float32(spec.scale)
        return real
    if stored.dtype.kind == "f":
        return stored.astype(np.float32, copy=False)
    if stored.dtype.kind == "b":
        return stored.astype(np.uint8)
    if stored.dtype.kind in "iu":
        return stored
    message = f"output {spec.name!r} holds {stored.dtype}, and only numbers can be compared"
    raise RunnerError("unsupported", message)


def _raw_integers(rows: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if rows.dtype != np.uint8:
        message = f"raw pixels for an integer input must be uint8, not {rows.dtype.name}"
        raise RunnerError("unsupported", message)
    if spec.dtype == "int8":
        return (rows.astype(np.int16) - 128).astype(np.int8)
    return rows.astype(spec.dtype)


def _cast(real: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """To the model's dtype, without ever changing a value by more than rounding."""
    target = np.dtype(spec.dtype)
    if real.dtype == target or spec.dtype in _FLOATS:
        return real.astype(target, copy=False)
    if target.kind in "iu" and real.dtype.kind == "f" and spec.scale is not None:
        return quantise(real, spec)
    if target.kind in "iu" and real.dtype.kind in "biu":
        info = np.iinfo(target)
        if real.size == 0 or (int(real.min()) >= info.min and int(real.max()) <= info.max):
            return real.astype(target)
    raise RunnerError(
        "unsupported",
        f"the model's input {spec.name!r} is {spec.dtype} without a scale, and the inputs are "
        f"{real.dtype.name}: feed raw pixels (recipe raw), or an array of {spec.dtype}",
    )


def _in_memory(values: np.ndarray) -> np.ndarray:
    """A contiguous array that owns its memory: reading a mapped file would fall into the clock."""
    if type(values) is np.ndarray and values.flags.c_contiguous and values.flags.owndata:
        return values
    return np.array(values, order="C", subok=False)


def _misfit(spec: TensorSpec, fed: Tuple[int, ...]) -> RunnerError:
    wanted = ", ".join("?" if size is None else str(size) for size in spec.shape or ())
    got = ", ".join(map(str, fed))
    return RunnerError(
        "unsupported",
        f"the model's input {spec.name!r} takes [{wanted}] and the cell feeds [{got}]: check the "
        "recipe's size and layout, or give arrays of the model's own shape",
    )
