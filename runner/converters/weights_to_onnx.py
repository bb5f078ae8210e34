"""The converter `weights>onnx`: named arrays into a library's own PyTorch module, exported to ONNX.

The module is that of `weights>torch`. PyTorch's TorchScript exporter writes opset 17, which every
ONNX Runtime since 1.13 reads, with an open batch; it folds batch norms into convolutions, as it does
for everybody who exports a module in eval mode. Options as `weights>torch`. The recorded difference
is ONNX's own reference evaluator's to the module, where that can run the model.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Dict, Iterator

import onnx
import torch

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    torch_architecture,
    torch_vision,
    weights_request,
)

_NAME = "weights>onnx"
_PACKAGES = ("torch", "torchvision", "timm", "onnx", "numpy")
_OPSET = 17

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
        _export(filled.module, torch.from_numpy(filled.fed), part)
        got = conversion.reference_outputs(_checked(part), filled.fed)
        if got is not None:
            conversion.check_finite(got)
        difference = None if got is None else conversion.largest_difference([filled.answers], got)
    packages = [name for name in _PACKAGES if name != "timm" or filled.library == "timm"]
    return conversion.converted(job.target, packages, difference)


@contextlib.contextmanager
def _no_fast_attention() -> Iterator[None]:
    """PyTorch's fused attention has no counterpart in ONNX; its parts, one by one, have."""
    attention = getattr(torch.backends, "mha", None)
    if attention is None:
        yield
        return
    before = attention.get_fastpath_enabled()
    attention.set_fastpath_enabled(value=False)
    try:
        yield
    finally:
        attention.set_fastpath_enabled(value=before)


def _checked(path: str) -> Any:
    """The ONNX file as `onnx.ModelProto`.

    Raises:
        RunnerError: kind `conversion`, if it can't be read or breaks ONNX's rules.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"PyTorch wrote an ONNX file that is not valid: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return model


def _export(module: Any, fed: Any, path: str) -> None:
    """Write the ONNX file.

    Raises:
        RunnerError: kind `conversion`, if PyTorch can't.
    """
    try:
        # The exporter announces its successor, and traces Python's own comparisons of shapes.
        with warnings.catch_warnings(), torch.no_grad(), _no_fast_attention():
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
