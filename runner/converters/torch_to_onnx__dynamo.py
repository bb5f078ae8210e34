"""The converter `torch>onnx:dynamo`: an exported program (`.pt2`) to ONNX, operator by operator.

By PyTorch's exporter that builds on `torch.export`. Sizes that the program leaves open stay open, and
all others are fixed. Options: `batch` (default 1) and `item_shape`, what a program that leaves them
open is tried with; `opset` (18 to 25, default 20); `folding` (default true: the exporter's optimiser,
which folds constants, and batch norms into convolutions). The recorded difference is ONNX's own
reference evaluator's to the program, where that can run the model.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict, Tuple

import onnxscript  # noqa: F401 (a probe is to see that it is there)
import torch

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, torch_onnx, torch_source

_NAME = "torch>onnx:dynamo"
_PACKAGES = ("torch", "onnxscript", "onnx-ir", "onnx", "numpy")
# Below the first, the exporter would have to convert operators to older ones, and where it can't it
# writes opset 18 without a word. The last is what onnxscript's own version converter reaches.
_OPSETS = tuple(range(18, 26))
_OPSET = 20

OPTIONS: Tuple[str, ...] = ("batch", "item_shape", "opset", "folding")


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the program can't be read or run;
            `conversion` if the export fails or its output is not finite.
    """
    opset = conversion.opset_of(job, _NAME, _OPSETS, _OPSET)
    folding = torch_source.switch_of(job, "folding", _NAME, default=True)
    source = torch_source.read(job, _NAME, OPTIONS)
    with conversion.written(job.target, ".onnx") as part:
        _export(source, part, opset, folding=folding)
        difference = torch_onnx.difference(part, opset, source.fed, source.answers)
    return conversion.converted(job.target, _PACKAGES, difference)


def _export(source: torch_source.Source, path: str, opset: int, *, folding: bool) -> None:
    """Write the ONNX file.

    Raises:
        RunnerError: kind `conversion`, if PyTorch can't.
    """
    try:
        # The exporter and onnxscript announce changes of their own.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                source.program,
                dynamo=True,
                opset_version=opset,
                optimize=folding,
                input_names=[torch_onnx.INPUT],
                output_names=source.outputs,
                external_data=False,
                verbose=False,
            )
            exported.save(path, external_data=False)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"torch.onnx.export fails: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
