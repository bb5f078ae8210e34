"""The converter `torch>relax`: an exported PyTorch program to TVM's Relax, by TVM's own importer.

Batch and shape are fixed. Options: `batch` (default 1) and `item_shape`, the shape of one input,
for a program that leaves more than the batch open. The recorded difference is to the program.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import conversion, torch_importing, tvm_convert, tvm_model

_NAME = "torch>relax"
OPTIONS = conversion.OPTIONS


def _import_frontend() -> None:
    import_module("tvm.relax.frontend.torch")


LATE_IMPORTS = (_import_frontend,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that TVM's importer does not
            know; `model` if the source can't be read; `conversion` if what was made does not
            compile, or an output is not finite.
    """
    tvm_convert.prepare(job)
    source = torch_importing.read(job, _NAME, OPTIONS)
    with warnings.catch_warnings():
        # PyTorch warns of its own pickles while the importer decomposes the program.
        warnings.simplefilter("ignore")
        imported = tvm_model.from_program(source.program, source.input, job.source)
    return tvm_convert.write(job, imported, ("torch",), source.fed, source.answers)
