"""The converter `weights>onnx`: named arrays into a library's own PyTorch module, exported to ONNX.

The module is that of `weights>torch`. PyTorch's TorchScript exporter writes opset 17, which every
ONNX Runtime since 1.13 reads, with an open batch; it folds batch norms into convolutions, as it does
for everybody who exports a module in eval mode. Options as `weights>torch`. The recorded difference
is ONNX's own reference evaluator's to the module, where that can run the model.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict

import onnx
import torch

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    torch_architecture,
    torch_vision,
    weights_file,
    weights_folded,
    weights_request,
)

_NAME = "weights>onnx"
_PACKAGES = ("torch", "torchvision", "timm", "onnx", "numpy")
_OPSET = 17

LATE_IMPORTS = (torch_vision.import_torchvision, torch_vision.import_timm)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the weights can't be read or do not
            fit; `conversion` if the export fails or an output is not finite.
    """
    request = weights_request.read_request(job, _NAME)
    torch.set_num_threads(job.threads)
    arrays = weights_file.read(job.source)
    architecture = request.architecture
    library = torch_architecture.library_of(architecture, request.library, tuple(arrays))
    classes = weights_folded.classes_of(arrays, architecture)
    module = torch_architecture.build(
        architecture, library, classes, request.item_shape, request.variant
    )
    torch_architecture.transplant(module, arrays, architecture)
    del arrays
    fed = request.seeded_input()
    with torch.inference_mode():
        expected = module(torch.from_numpy(fed)).numpy()
    conversion.check_finite([expected])
    with conversion.written(job.target, ".onnx") as part:
        _export(module, torch.from_numpy(fed), part)
        model = onnx.load(part)
        onnx.checker.check_model(model)
        got = conversion.reference_outputs(model, fed)
        if got is not None:
            conversion.check_finite(got)
        difference = None if got is None else conversion.largest_difference([expected], got)
    packages = [name for name in _PACKAGES if name != "timm" or library == "timm"]
    return conversion.converted(job.target, packages, difference)


def _export(module: Any, fed: Any, path: str) -> None:
    """Write the ONNX file.

    Raises:
        RunnerError: kind `conversion`, if PyTorch can't.
    """
    try:
        # The exporter announces its successor, and traces Python's own comparisons of shapes.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (fed,),
                path,
                opset_version=_OPSET,
                input_names=["input"],
                output_names=["logits"],
                dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
                dynamo=False,
            )
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"torch.onnx.export fails: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
