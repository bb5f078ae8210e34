"""The converter `onnx>torch`: an ONNX model to an exported PyTorch program (`.pt2`).

By onnx2torch, then `torch.export` with a fixed batch. Options: `batch` (default 1) and `item_shape`,
the shape of one input, for a model that leaves more than the batch open. onnx2torch knows many
operators only as they were up to opset 17.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict, List, Tuple

import numpy as np
import onnx
import torch

from runner.backends.base import installed_version
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    onnx2torch_constants,
    onnx2torch_model,
    onnx_model,
    torch_vision,
)

_NAME = "onnx>torch"
_PACKAGES = ("torch", "onnx2torch", "onnx", "torchvision", "numpy")
# The last opset that onnx2torch knows widely.
_OPSET = 17

OPTIONS: Tuple[str, ...] = conversion.OPTIONS


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, and for operators that onnx2torch does not know;
            `model` if the source can't be read; `conversion` if it can't be converted otherwise, or
            an output is lost, of another rank or not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME)
    torch.set_num_threads(job.threads)
    model = conversion.read_onnx(job, _NAME)
    fed = conversion.seeded_input(model, batch, item_shape, _NAME)
    _require_known(model, job.source)
    try:
        program = _export(onnx2torch_model.prepared(model, fed.shape), fed)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{job.source} can't be converted by onnx2torch: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    with conversion.written(job.target, ".pt2") as part:
        torch.export.save(program, part)
        del program
        got = _run(part, fed)
        conversion.check_finite(got)
        expected = conversion.reference_outputs(model, fed)
        conversion.require_alike(expected, got, sizes=False)
        difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, _PACKAGES, difference)


def import_onnx2torch() -> Any:
    """The module onnx2torch, which imports torchvision."""
    torch_vision.declare_operators()
    import onnx2torch

    onnx2torch_constants.take_constants()
    return onnx2torch


LATE_IMPORTS = (import_onnx2torch,)
"""What is imported only when a model is converted, for a probe to try."""


def _require_known(model: Any, path: str) -> None:
    """Refuse operators that onnx2torch has no converter for, all at once.

    Raises:
        RunnerError: kind `unsupported`, with the remedy where there is one.
    """
    import_onnx2torch()
    opset = onnx_model.opset(model)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    used = {(node.op_type, node.domain) for node in model.graph.node}
    missing = {
        (kind, domain)
        for kind, domain in used
        if not _known(kind, domain, opsets.get(domain, opset))
    }
    if not missing:
        return
    listed = ", ".join(
        f"{domain}.{kind}" if domain else f"{kind}-{_since(kind, opset)}"
        for kind, domain in sorted(missing)
    )
    remedy = "take a route without onnx>torch, or export the model without them"
    if opset > _OPSET and all(_known(kind, domain, _OPSET) for kind, domain in missing):
        remedy = (
            f"it has them as they were in opset {_OPSET}: export the model with that one (as "
            "torch>onnx:torchscript does), or take a route without onnx>torch"
        )
    raise RunnerError(
        "unsupported",
        f"{_NAME}: onnx2torch {installed_version('onnx2torch')} has no converter for {listed} of "
        f"{path}, which is of opset {opset}: {remedy}",
    )


def _known(kind: str, domain: str, opset: int) -> bool:
    registry = import_module("onnx2torch.node_converters.registry")
    try:
        registry.get_converter(kind, opset, domain)
    except NotImplementedError:
        return False
    return True


def _since(kind: str, opset: int) -> int:
    """The opset that gave an operator the meaning that it has in `opset`; that itself if unknown."""
    try:
        return int(onnx.defs.get_schema(kind, max_inclusive_version=opset).since_version)
    except onnx.defs.SchemaError:
        return opset


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
