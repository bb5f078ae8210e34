"""The converter `onnx>torch`: an ONNX model to an exported PyTorch program (`.pt2`).

By onnx2torch, then `torch.export` with a fixed batch. Options: `batch` (default 1) and `item_shape`,
the shape of one input, for a model that leaves more than the batch open.
"""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
import onnx  # noqa: F401 (a probe is to see that it is there)
import torch

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, torch_vision

_NAME = "onnx>torch"
_PACKAGES = ("torch", "onnx2torch", "onnx", "torchvision", "numpy")


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the source can't be read;
            `conversion` if an operator can't be converted or an output is not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME)
    torch.set_num_threads(job.threads)
    model = conversion.read_onnx(job, _NAME)
    fed = conversion.seeded_input(model, batch, item_shape, _NAME)
    try:
        program = _export(model, fed)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{job.source} can't be converted by onnx2torch: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    with conversion.written(job.target, ".pt2") as part:
        torch.export.save(program, part)
        del program
        got = _run(part, fed)
        conversion.check_finite(got)
        difference = conversion.largest_difference(conversion.reference_outputs(model, fed), got)
    return conversion.converted(job.target, _PACKAGES, difference)


def import_onnx2torch() -> Any:
    """The module onnx2torch, which imports torchvision."""
    torch_vision.declare_operators()
    import onnx2torch

    return onnx2torch


LATE_IMPORTS = (import_onnx2torch,)
"""What is imported only when a model is converted, for a probe to try."""


def _export(model: Any, fed: np.ndarray) -> Any:
    module = import_onnx2torch().convert(model).eval()
    with torch.no_grad():
        return torch.export.export(module, (torch.from_numpy(fed),))


def _run(path: str, fed: np.ndarray) -> List[np.ndarray]:
    module = torch.export.load(path).module()
    with torch.inference_mode():
        result = module(torch.from_numpy(fed))
    tensors = [result] if isinstance(result, torch.Tensor) else list(result)
    return [tensor.numpy() for tensor in tensors]
