"""What the converters to `relax` do alike: write, read back, compile, run, compare."""

from __future__ import annotations

import os

# TVM's threads would leave the cores that this process may use: it binds them by number.
os.environ["TVM_BIND_THREADS"] = "0"

from typing import Any, Dict, Optional, Sequence

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, fed_input, tvm_relax
from runner.support.tvm_model import Imported

PACKAGES = ("apache-tvm", "apache-tvm-ffi", "numpy")


def prepare(job: ConvertJob) -> None:
    """Set the number of TVM's threads, which it reads when it first runs something."""
    os.environ["TVM_NUM_THREADS"] = str(job.threads)


def write(
    job: ConvertJob,
    imported: Imported,
    packages: Sequence[str],
    fed: Optional[np.ndarray] = None,
    expected: Optional[Sequence[np.ndarray]] = None,
) -> Dict[str, Any]:
    """Write `job.target` and try what was written; the fields of the event `converted`.

    Args:
        job: the conversion.
        imported: what TVM made of the source.
        packages: distributions that had a part in it besides TVM's.
        fed: an input to try it with; by default a seeded one.
        expected: what the source gives for it, where that is known.

    Raises:
        RunnerError: kind `conversion`, if it can't be read back or compiled, or an output is not
            finite; `unsupported` for a module whose shapes are open.
    """
    shape = _fixed(imported)
    given = fed_input.seeded(shape, imported.input.dtype) if fed is None else fed
    with conversion.written(job.target) as part:
        tvm_relax.write(imported, part)
        del imported
        try:
            got = tvm_relax.run(tvm_relax.read(part, shape, "default"), given)
        except Exception as error:
            failed = classify(error, "conversion")
            message = f"TVM imports {job.source} and can't run what it made: {failed.message}"
            raise RunnerError(failed.kind, message, failed.detail) from error
        conversion.check_finite(got)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, (*PACKAGES, *packages), difference)


def _fixed(imported: Imported) -> Any:
    shape = imported.input.shape
    if shape is None or any(size is None for size in shape):
        raise RunnerError(
            "unsupported",
            f"tvm: the input {imported.input.name!r} has the shape {shape} and a Relax module is "
            "compiled for a fixed one; give the options batch and item_shape",
        )
    return shape
