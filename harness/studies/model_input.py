"""One image as the model is fed it: the runner's arithmetic on prepared pixels, for one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.datasets.inputs import PreparedInputs
from harness.errors import UsageError
from harness.plan.feeds import CellInputs

Array = npt.NDArray[Any]


def input_row(inputs: CellInputs, prepared: PreparedInputs, index: int) -> Array:
    """What the model is given for one image: [1, ...], the same bits as in a cell.

    Args:
        inputs: how prepared rows reach the model.
        prepared: the rows.
        index: which of them.

    Raises:
        UsageError: inputs that are not float pixels or an array.
    """
    rows = np.load(prepared.path, mmap_mode="r", allow_pickle=False)[index : index + 1]
    if inputs.kind == "array":
        return np.ascontiguousarray(rows)
    if inputs.raw_quantised or inputs.softmax:
        raise UsageError(
            "This model is fed integers, or answered through another softmax; its operators cannot "
            "be looked at one by one.",
            "Bisect the float model.",
        )
    if inputs.swap_sides:
        rows = rows.transpose(0, 2, 1, 3)
    real = normalised(rows, inputs.normalise)
    if inputs.layout == "NCHW":
        real = real.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(real)


def normalised(rows: Array, how: Mapping[str, Any] | None) -> Array:
    """Pixels [B, H, W, 3] to float32, each step one float32 operation, as the runner does it."""
    if how is None:
        return rows.astype(np.float32)
    real: Array = (rows[..., ::-1] if how["channels"] == "bgr" else rows).astype(np.float32)
    real /= np.asarray(how["divide"], dtype=np.float32)
    real -= np.asarray(how["subtract"], dtype=np.float32)
    real /= np.asarray(how["divide_after"], dtype=np.float32)
    return real
