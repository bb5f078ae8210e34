"""The converter `onnx>mlir`: an ONNX model to MLIR by IREE's own importer, float32.

It is what the backend `iree` does with an ONNX file, kept: Torch's dialect with ONNX's operators, as
bytecode. Batch and shape are fixed. A model below opset 17 that IREE does not compile is raised to
it. Options: `batch` (default 1) and `item_shape`, the shape of one input, for a model that leaves
more than the batch open.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import conversion

_NAME = "onnx>mlir"
OPTIONS = conversion.OPTIONS


def _import_iree() -> None:
    import_module("runner.support.iree_convert")


LATE_IMPORTS = (_import_iree,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that IREE can't compile; `model`
            if the source can't be read; `conversion` if what was written does not run, or an
            output is lost, of another rank or not finite.
    """
    from runner.support import iree_compile, iree_convert

    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    source = conversion.read_onnx(job, _NAME)
    fed = conversion.seeded_input(source, batch, item_shape, _NAME)
    expected = conversion.reference_outputs(source, fed)
    del source

    def write(model: Any) -> Dict[str, Any]:
        data = iree_compile.imported(iree_compile.fix_shapes(model, fed.shape))
        return iree_convert.write(job, data, ("onnx",), fed, expected, sizes=False)

    return iree_compile.raised_if_refused(iree_compile.read(job.source), write)
