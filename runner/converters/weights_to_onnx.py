"""The converter `weights>onnx`: named arrays into a library's own PyTorch module, exported to ONNX.

The module is that of `weights>torch`. PyTorch's TorchScript exporter writes opset 17, which every
ONNX Runtime since 1.13 reads, with an open batch; it folds batch norms into convolutions, as it does
for everybody who exports a module in eval mode. Options as `weights>torch`. The recorded difference
is ONNX's own reference evaluator's to the module, where that can run the model.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    torch_architecture,
    torch_onnx,
    torch_vision,
    weights_request,
)

_NAME = "weights>onnx"
_PACKAGES = ("torch", "torchvision", "timm", "onnx", "numpy")
_OUTPUT = "logits"
_OPEN = {torch_onnx.INPUT: {0: "N"}, _OUTPUT: {0: "N"}}

OPTIONS = weights_request.OPTIONS

LATE_IMPORTS = (torch_vision.import_torchvision,)
"""What is imported only when a model is converted, for a probe to try; timm is needed for what
torchvision has not, and refused by name where it is not there."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the weights can't be read, do not
            fit or make no sense; `conversion` if the export fails or its output is not finite.
    """
    request = weights_request.read_request(job, _NAME)
    filled = torch_architecture.of_request(job, request, _NAME)
    with conversion.written(job.target, ".onnx") as part:
        torch_onnx.export_by_torchscript(
            filled.module, filled.fed, part, [_OUTPUT], open_axes=_OPEN
        )
        opset = torch_onnx.TORCHSCRIPT_OPSET
        difference = torch_onnx.difference(part, opset, filled.fed, [filled.answers])
    packages = [name for name in _PACKAGES if name != "timm" or filled.library == "timm"]
    return conversion.converted(job.target, packages, difference)
