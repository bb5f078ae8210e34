"""Inputs that a converter runs through a model to choose the ranges of integers."""

from __future__ import annotations

from typing import Iterator

import numpy as np

from runner import inputs
from runner.backends.base import TensorSpec
from runner.errors import RunnerError
from runner.jobs import ConvertJob


def batches(job: ConvertJob, dtype: str = "float32") -> Iterator[np.ndarray]:
    """Each calibration input as the source of this step takes it: [1, ...], one after the other.

    Args:
        job: one that brings calibration inputs.
        dtype: NumPy's name of the dtype that the source's input has.

    Raises:
        RunnerError: kind `unsupported` if the job brings none; `job` if they can't be read.
    """
    given = job.calibration
    if given is None:
        message = f"{job.converter}: this job brings no calibration inputs: give images"
        raise RunnerError("unsupported", message)
    rows = inputs.open_rows(given.inputs)
    spec = TensorSpec("calibration", dtype, None)
    for row in given.rows:
        yield inputs.prepare(rows[row : row + 1], given.inputs, spec, given.input_axes)
