"""The converter `torch>onnx:torchscript`: an exported program (`.pt2`) to ONNX, by tracing it.

By PyTorch's exporter that goes through TorchScript. The batch is fixed to what is asked for, since
tracing writes sizes down as numbers. Options: `batch` (default 1) and `item_shape`, for a program
that leaves them open; `opset` (9 to 20, default 17); `folding` (default true: constants are folded,
and batch norms into convolutions; false: both stay as the program has them). The recorded difference
is ONNX's own reference evaluator's to the program, where that can run the model.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from runner.jobs import ConvertJob
from runner.support import conversion, torch_onnx, torch_source

_NAME = "torch>onnx:torchscript"
_PACKAGES = ("torch", "onnx", "numpy")

OPTIONS: Tuple[str, ...] = ("batch", "item_shape", "opset", "folding")


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the program can't be read or run;
            `conversion` if the export fails or its output is not finite.
    """
    opset = conversion.opset_of(
        job, _NAME, torch_onnx.TORCHSCRIPT_OPSETS, torch_onnx.TORCHSCRIPT_OPSET
    )
    folding = torch_source.switch_of(job, "folding", _NAME, default=True)
    source = torch_source.read(job, _NAME, OPTIONS)
    with conversion.written(job.target, ".onnx") as part:
        torch_onnx.export_by_torchscript(
            source.module, source.fed, part, source.outputs, opset=opset, folding=folding
        )
        difference = torch_onnx.difference(part, opset, source.fed, source.answers)
    return conversion.converted(job.target, _PACKAGES, difference)
