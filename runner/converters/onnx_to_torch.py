"""The converter `onnx>torch`: an ONNX model to an exported PyTorch program (`.pt2`).

By onnx2torch, then `torch.export` with a fixed batch. Options: `batch` (default 1) and `item_shape`,
the shape of one input, for a model that leaves more than the batch open.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
import torch

from runner.backends.base import installed_version, only_input, unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob

_OPTIONS = ("batch", "item_shape")
_PROBE_SEED = 0

_kept: List[Any] = []
"""Library definitions live as long as the object that made them."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference between the program, read back from its file,
    and ONNX's own reference evaluator on a seeded input. It is recorded and decides nothing: a
    conversion that changes answers is what the harness is there to measure.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the source can't be read;
            `conversion` if an operator can't be converted or an output is not finite.
    """
    batch, item_shape = _options(job)
    if job.source_format != "onnx":
        raise unsupported("onnx>torch", "source format", job.source_format, ("onnx",))
    torch.set_num_threads(job.threads)
    model = _read(job.source)
    probe = _probe_input(model, batch, item_shape)
    try:
        program = _export(model, probe)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{job.source} can't be converted by onnx2torch: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    part = job.target + ".part.pt2"
    os.makedirs(os.path.dirname(os.path.abspath(job.target)), exist_ok=True)
    try:
        torch.export.save(program, part)
        del program
        got = _run(part, probe)
        _check_finite(got)
        difference = _difference(model, probe, got)
        os.replace(part, job.target)
    finally:
        if os.path.exists(part):
            os.unlink(part)
    packages = ("torch", "onnx2torch", "onnx", "torchvision", "numpy")
    return {
        "files": {os.path.basename(job.target): _sha256(job.target)},
        "versions": {name: installed_version(name) for name in packages if installed_version(name)},
        "probe_max_abs_diff": difference,
    }


def import_onnx2torch() -> Any:
    """The onnx2torch module, with what torchvision lacks beside a CPU build of PyTorch.

    onnx2torch imports torchvision, whose compiled operators may not load there; its Python part
    then fails to register shapes for `nms` unless somebody has declared the operator. Declaring it
    is enough: a model that calls it still fails, loudly.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(operator + signature)
        _kept.append(library)
    except ImportError:
        pass
    import onnx2torch

    return onnx2torch


LATE_IMPORTS = (import_onnx2torch,)
"""What is imported only when a model is converted, for a probe to try."""


def _options(job: ConvertJob) -> Tuple[int, Optional[Tuple[int, ...]]]:
    unknown = [name for name in job.options if name not in _OPTIONS]
    if unknown:
        raise unsupported("onnx>torch", "option", unknown[0], _OPTIONS)
    batch, item_shape = job.options.get("batch", 1), job.options.get("item_shape")
    sizes = [batch] + list(item_shape or ())
    if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
        message = "onnx>torch: batch and the sizes of item_shape must be integers of at least 1"
        raise RunnerError("job", message)
    return batch, None if item_shape is None else tuple(item_shape)


def _read(path: str) -> Any:
    try:
        model = onnx.load(path)
    except Exception as error:
        refused = classify(error, "model")
        raise RunnerError(refused.kind, f"{path}: {refused.message}", refused.detail) from error
    return model


def _probe_input(model: Any, batch: int, item_shape: Optional[Tuple[int, ...]]) -> np.ndarray:
    """A seeded input of the model's own dtype: standard normal, or small integers."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialisers]
    only_input("onnx>torch", [value.name for value in inputs])
    kind = inputs[0].type.tensor_type
    declared = [d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim]
    wanted = [batch, *(item_shape or declared[1:])]
    if any(size is None for size in wanted):
        raise RunnerError(
            "unsupported",
            f"onnx>torch: the input {inputs[0].name!r} leaves more than the batch open; give the "
            "option item_shape",
        )
    misfit = len(wanted) != len(declared) or any(
        size not in (None, want) for size, want in zip(declared, wanted)
    )
    if misfit:
        raise RunnerError(
            "unsupported",
            f"onnx>torch: the input {inputs[0].name!r} is declared as {declared} and {wanted} was "
            "asked for: use the model's own batch and shape, or export it with a dynamic batch",
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    generator = np.random.Generator(np.random.PCG64(_PROBE_SEED))
    if np.dtype(dtype).kind in "iu":
        return generator.integers(0, 100, size=wanted).astype(dtype)
    return generator.standard_normal(wanted).astype(dtype)


def _export(model: Any, probe: np.ndarray) -> Any:
    module = import_onnx2torch().convert(model).eval()
    with torch.no_grad():
        return torch.export.export(module, (torch.from_numpy(probe),))


def _run(path: str, probe: np.ndarray) -> List[np.ndarray]:
    module = torch.export.load(path).module()
    with torch.inference_mode():
        result = module(torch.from_numpy(probe))
    tensors = [result] if isinstance(result, torch.Tensor) else list(result)
    return [tensor.numpy() for tensor in tensors]


def _check_finite(outputs: Sequence[np.ndarray]) -> None:
    for index, output in enumerate(outputs):
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise RunnerError(
                "conversion",
                f"the converted program's output {index} is not finite on a seeded input: the "
                "conversion succeeded and its result can't be used",
            )


def _difference(model: Any, probe: np.ndarray, got: Sequence[np.ndarray]) -> Optional[float]:
    """The largest difference to ONNX's reference evaluator; None where that can't run the model."""
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(model)
        expected = evaluator.run(None, {evaluator.input_names[0]: probe})
        pairs = list(zip(expected, got))
        worst = max(float(np.abs(np.subtract(e, g, dtype=np.float64)).max()) for e, g in pairs)
    except Exception as error:
        print(f"runner: not compared with ONNX's reference evaluator: {error!r}", flush=True)
        return None
    return worst if np.isfinite(worst) else None


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1024**2), b""):
            digest.update(block)
    return digest.hexdigest()
