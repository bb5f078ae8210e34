"""The converter `onnx>relax`: an ONNX model to TVM's Relax, by TVM's own importer.

It is what the backend `tvm` does with an ONNX file, kept. Batch and shape are fixed. Options:
`batch` (default 1) and `item_shape`, the shape of one input, for a model that leaves more than the
batch open.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import conversion, tvm_convert, tvm_model

_NAME = "onnx>relax"
OPTIONS = conversion.OPTIONS


def _import_frontend() -> None:
    import_module("onnx")
    import_module("tvm.relax.frontend.onnx")


LATE_IMPORTS = (_import_frontend,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that TVM's importer does not
            know; `model` if the source can't be read; `conversion` if what was made does not
            compile, or an output is not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    tvm_convert.prepare(job)
    model = conversion.read_onnx(job, _NAME)
    fed = conversion.seeded_input(model, batch, item_shape, _NAME)
    expected = conversion.reference_outputs(model, fed)
    del model
    imported = tvm_model.read(job.source, "onnx", fed.shape, "default")
    return tvm_convert.write(job, imported, ("onnx",), fed, expected)
