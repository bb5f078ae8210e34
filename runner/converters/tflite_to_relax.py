"""The converter `tflite>relax`: a TensorFlow Lite file to TVM's Relax, by TVM's own importer.

It is what the backend `tvm` does with a TensorFlow Lite file, kept: a quantised model stays
quantised, and the layout is the file's. Batch and shape are fixed. Options: `batch` (default 1) and
`item_shape`, which must be the file's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import conversion, fed_input, tvm_convert, tvm_model

_NAME = "tflite>relax"
OPTIONS = conversion.OPTIONS


def _import_frontend() -> None:
    import_module("tflite")
    import_module("tvm.relax.frontend.tflite")


LATE_IMPORTS = (_import_frontend,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    No difference to the source is told: nothing here runs a TensorFlow Lite file.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that TVM's importer does not
            know; `model` if the source can't be read; `conversion` if what was made does not
            compile, or an output is not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    conversion.require_format(job, _NAME, "tflite")
    tvm_convert.prepare(job)
    declared = tvm_model.tflite_input(job.source)
    # The batch that a file declares is its maker's habit: the importer says what it can do.
    items = (None, *(declared.shape or ())[1:])
    asked = fed_input.fed_shape(_NAME, declared.name, items, batch, item_shape)
    imported = tvm_model.read(job.source, "tflite", asked, "default")
    return tvm_convert.write(job, imported, ("tflite", "flatbuffers"))
