"""ONNX files by PyTorch: the exporter by TorchScript, and how what any exporter wrote is looked at."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np
import onnx
import torch

from runner.errors import RunnerError, classify
from runner.support import conversion, onnx_model

TORCHSCRIPT_OPSETS = tuple(range(9, 21))
"""What the exporter by TorchScript writes, which is not developed any further.

It writes 7 and 8 too, and folds nothing there, whatever it is told.
"""
TORCHSCRIPT_OPSET = 17
"""What every ONNX Runtime since 1.13 reads."""

INPUT = "input"


def export_by_torchscript(
    module: Any,
    fed: np.ndarray,
    path: str,
    outputs: Sequence[str],
    *,
    opset: int = TORCHSCRIPT_OPSET,
    folding: bool = True,
    open_axes: Optional[Mapping[str, Mapping[int, str]]] = None,
) -> None:
    """Write the ONNX file of a module, traced with an input.

    Args:
        module: in eval mode.
        fed: what it is traced with.
        path: the file to write.
        outputs: their names.
        opset: one of `TORCHSCRIPT_OPSETS`.
        folding: fold constants, and batch norms into convolutions.
        open_axes: by input or output, the axes that stay open and their names.

    Raises:
        RunnerError: kind `conversion`, if PyTorch can't.
    """
    # The mode is the module's own in both; EVAL also folds batch norms.
    modes = torch.onnx.TrainingMode
    options: Dict[str, Any] = {
        "opset_version": opset,
        "do_constant_folding": folding,
        "training": modes.EVAL if folding else modes.PRESERVE,
        "input_names": [INPUT],
        "output_names": list(outputs),
        "dynamic_axes": {name: dict(axes) for name, axes in (open_axes or {}).items()},
        "dynamo": False,
    }
    try:
        # The exporter announces its successor, and traces Python's own comparisons of shapes.
        with warnings.catch_warnings(), torch.no_grad(), _no_fast_attention():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (torch.from_numpy(fed),), path, **options)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"torch.onnx.export fails: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def difference(
    path: str, opset: int, fed: np.ndarray, answers: Sequence[np.ndarray]
) -> Optional[float]:
    """How far ONNX's reference evaluator is from what the module answers; None if it can't run it.

    Args:
        path: an ONNX file that PyTorch wrote.
        opset: what was asked for.
        fed: an input.
        answers: the module's, for it.

    Raises:
        RunnerError: kind `conversion`, if the file breaks ONNX's rules, is of another opset, has
            other inputs or outputs, or its answers are of another rank or not finite;
            `unsupported`, if its weights do not fit into one file.
    """
    model = _checked(path)
    written = onnx_model.opset(model)
    if written != opset:
        raise RunnerError(
            "conversion",
            f"PyTorch was asked for opset {opset} and wrote opset {written}: its exporter could not "
            "convert an operator; ask for a later opset, or for another converter",
        )
    tensors: List[Any] = list(model.graph.initializer)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        message = "the weights do not fit into one ONNX file, which holds at most 2 GiB"
        raise RunnerError("unsupported", message)
    fed_names = [value.name for value in onnx_model.inputs(model)]
    if fed_names != [INPUT] or len(model.graph.output) != len(answers):
        raise RunnerError(
            "conversion",
            f"the ONNX file takes {fed_names} and has {len(model.graph.output)} outputs, and the "
            f"program takes one input and has {len(answers)}: part of it was lost",
        )
    got = conversion.reference_outputs(model, fed)
    if got is None:
        return None
    conversion.check_finite(got)
    conversion.require_alike(answers, got, sizes=False)
    return conversion.largest_difference(answers, got)


def _checked(path: str) -> Any:
    """The ONNX file as `onnx.ModelProto`.

    Raises:
        RunnerError: kind `conversion`, if it can't be read or breaks ONNX's rules.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(model)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"PyTorch wrote an ONNX file that is not valid: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return model


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
