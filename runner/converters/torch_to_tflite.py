"""The converter `torch>tflite`: an exported PyTorch program (`.pt2`) to TensorFlow Lite.

By litert-torch. The batch is fixed. Options: `batch` (default 1) and `item_shape`, for a program that
leaves them open; `layout`, of the file's input where that is an image: nchw, as the program has it
(default), or nhwc; `quantisation`: none, that is float32 (default), or dynamic: weights of integers
with a scale for each channel, and ranges of activations found while it runs. The recorded difference
is LiteRT's interpreter's to the program.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

from runner.backends.base import unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, torch_source, torch_vision
from runner.support.tflite_interpreter import import_interpreter

_NAME = "torch>tflite"
_PACKAGES = (
    "torch",
    "litert-torch",
    "litert-converter",
    "torchao",
    "ai-edge-litert",
    "jax",
    "numpy",
)
# Static: what its quantiser makes of a program and what it writes of that differ in most labels.
_QUANTISATIONS = ("dynamic",)
_LAYOUTS = ("nchw", "nhwc")
_TO_CHANNELS_LAST = (0, 2, 3, 1)

OPTIONS: Tuple[str, ...] = ("batch", "item_shape", "layout", "quantisation")


def import_litert_torch() -> Any:
    """The module litert_torch, which imports torchvision, and draws no bars of progress."""
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    torch_vision.declare_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litert_torch

        return litert_torch


LATE_IMPORTS = (import_litert_torch, import_interpreter)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or a program in float64; `model` if the program
            can't be read or run; `conversion` if litert-torch can't convert it, or what it made is
            quantised and should not be or the other way round, does not run or is not finite.
    """
    quantisation = conversion.quantisation_of(job, _NAME, _QUANTISATIONS)
    source = torch_source.read(job, _NAME, OPTIONS)
    axes = _axes(job.options.get("layout"), source.fed.ndim)
    _require_no_float64(source)
    fed = source.fed if axes is None else np.ascontiguousarray(source.fed.transpose(axes))
    with conversion.written(job.target, ".tflite") as part:
        _export(source, fed, part, channels_last=axes is not None, dynamic=quantisation is not None)
        got = _run(part, fed, job.threads, source.answers, quantised=quantisation is not None)
        conversion.check_finite(got)
        difference = conversion.largest_difference(source.answers, got)
    packages = [name for name in _PACKAGES if name != "torchao" or quantisation]
    return conversion.converted(job.target, packages, difference, input_axes=axes)


def _axes(layout: Any, dimensions: int) -> Optional[Tuple[int, ...]]:
    """How the program's input is transposed to become the file's; None: not at all."""
    if layout is None:
        return None
    if layout not in _LAYOUTS:
        raise unsupported(_NAME, "layout", layout, _LAYOUTS)
    if dimensions != len(_TO_CHANNELS_LAST):
        raise unsupported(
            _NAME,
            "layout",
            layout,
            (),
            why=f"the program takes {dimensions} dimensions and a layout is one of images; leave "
            "the option out",
        )
    return _TO_CHANNELS_LAST if layout == "nhwc" else None


def _require_no_float64(source: torch_source.Source) -> None:
    """Refuse what litert-torch would make less of without a word: it writes float32 for float64."""
    if "float64" in source.floats:
        raise RunnerError(
            "unsupported",
            f"{_NAME}: the program holds float64, and litert-torch would write float32: "
            "export the program in float32",
        )


def _export(
    source: torch_source.Source, fed: np.ndarray, path: str, *, channels_last: bool, dynamic: bool
) -> None:
    """Write the file.

    Raises:
        RunnerError: kind `conversion`, in the words of litert-torch.
    """
    litert_torch = import_litert_torch()
    module, options = source.module, {}
    try:
        # litert-torch and the packages below it announce changes of their own.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            if dynamic:
                module, options["quant_config"] = _quantised(source)
            if channels_last:
                module = litert_torch.to_channel_last_io(module, args=[0])
                module.training = False
            litert_torch.convert(module, (torch.from_numpy(fed),), **options).export(path)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{_NAME}: litert-torch can't convert the program: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def _quantised(source: torch_source.Source) -> Tuple[Any, Any]:
    """The program's module with weights of integers, and what litert-torch is to be told of it."""
    ways = import_module("torchao.quantization.pt2e.quantize_pt2e")
    quantisers = import_module("litert_torch.quantize.pt2e_quantizer")
    configured = import_module("litert_torch.quantize.quant_config")
    chosen = quantisers.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    quantiser = quantisers.PT2EQuantizer().set_global(chosen)
    prepared = ways.prepare_pt2e(source.program.module(), quantiser)
    # Once, for the ranges of the weights: those of activations are found while the file runs.
    prepared(torch.from_numpy(source.fed))
    module = ways.convert_pt2e(prepared, fold_quantize=False)
    return torch_source.in_eval_mode(module), configured.QuantConfig(pt2e_quantizer=quantiser)


def _run(
    path: str, fed: np.ndarray, threads: int, answers: Sequence[np.ndarray], *, quantised: bool
) -> List[np.ndarray]:
    """What LiteRT's interpreter answers, in the order of the file's outputs.

    Raises:
        RunnerError: kind `conversion`, if it does not run, has other outputs than the program, or is
            quantised where it should not be or the other way round.
    """
    _, tflite = import_interpreter()
    try:
        interpreter = tflite.Interpreter(model_path=path, num_threads=threads)
        interpreter.allocate_tensors()
        details = interpreter.get_output_details()
        _require(interpreter.get_tensor_details(), quantised=quantised)
        (taken,) = interpreter.get_input_details()
        interpreter.set_tensor(taken["index"], fed.astype(taken["dtype"]))
        interpreter.invoke()
        got = [interpreter.get_tensor(detail["index"]) for detail in details]
    except RunnerError:
        raise
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{_NAME}: LiteRT can't run what was made: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    shapes, expected = [list(one.shape) for one in got], [list(one.shape) for one in answers]
    if shapes != expected:
        message = f"{_NAME}: the file's outputs have the shapes {shapes} and not {expected}"
        raise RunnerError("conversion", message)
    return got


def _require(details: Sequence[Any], *, quantised: bool) -> None:
    """Look that tensors are quantised if, and only if, that was asked for."""
    found = [
        str(detail["name"])
        for detail in details
        if len(detail["quantization_parameters"]["scales"])
    ]
    if found and not quantised:
        raise RunnerError(
            "conversion",
            f"{_NAME}: litert-torch quantised {len(found)} tensors that nobody asked it to "
            f"({', '.join(found[:5])}): is the program itself quantised?",
        )
    if quantised and not found:
        raise RunnerError(
            "conversion",
            f"{_NAME}: litert-torch quantised nothing: it knows convolutions and linear layers, and "
            "found none that it could; leave the quantisation out",
        )
