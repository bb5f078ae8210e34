"""The converter `torch>mlir`: an exported PyTorch program to MLIR by IREE Turbine, float32.

Torch's dialect, as bytecode. Batch and shape are fixed. Options: `batch` (default 1) and
`item_shape`, the shape of one input, for a program that leaves more than the batch open. The
recorded difference is to the program.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from importlib import import_module
from typing import Any, Dict

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion

_NAME = "torch>mlir"
OPTIONS = conversion.OPTIONS


def _import_turbine() -> None:
    import_module("runner.support.iree_convert")
    import_module("runner.support.torch_importing")
    import_module("iree.turbine.aot")


LATE_IMPORTS = (_import_turbine,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that IREE can't import or
            compile; `model` if the source can't be read; `conversion` if what was written does not
            run, or an output is lost, of another shape or not finite.
    """
    from runner.support import iree_convert, torch_importing

    source = torch_importing.read(job, _NAME, OPTIONS)
    # Turbine leaves a file behind where it fails.
    tempfile.tempdir = job.work
    with warnings.catch_warnings():
        # PyTorch warns of its own pickles while the program is decomposed.
        warnings.simplefilter("ignore")
        data = _imported(source.program, job.source)
    used = ("iree-turbine", "torch")
    return iree_convert.write(job, data, used, source.fed, source.answers)


def _imported(program: Any, path: str) -> bytes:
    """The module of a program: without operators that change their input, which MLIR has not."""
    aot = import_module("iree.turbine.aot")
    table = import_module("iree.turbine.aot.decompositions").current_aot_decompositions()
    stream = io.BytesIO()
    try:
        exported = aot.export(program.run_decompositions(table))
        exported.mlir_module.write_bytecode(stream)
    except Exception as error:
        failed = classify(error, "unsupported")
        message = f"{path} can't be imported by IREE Turbine: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return stream.getvalue()
