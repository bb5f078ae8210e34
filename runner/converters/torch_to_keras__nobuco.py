"""The converter `torch>keras:nobuco`: an exported PyTorch program (`.pt2`) to Keras, by nobuco.

nobuco 0.17 works with Keras 2 alone, so the `.keras` file is one of Keras 2 (TensorFlow 2.15): Keras
3 refuses it, for it holds TensorFlow's functions as layers. It loads with `safe_mode=True` and
without custom objects.

Options: `batch` (default 1) and `item_shape`, the shape of one input as the program takes it, which
must be what the program was exported for, or be left open by it; `layout`, `nhwc` (nobuco's own
default) or `nchw`, of the input. The batch is fixed. Outputs stay as PyTorch lays them out.

A process converts one program: nobuco changes PyTorch for good.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch

from runner.backends.base import unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    keras_engine,
    nobuco_operators,
    nobuco_program,
    torch_importing,
    torch_vision,
)

_NAME = "torch>keras:nobuco"
_PACKAGES = ("nobuco", "torch", "tensorflow", "tensorflow-cpu", "keras", "numpy")
_LAYOUTS = ("nhwc", "nchw")

OPTIONS: Tuple[str, ...] = ("batch", "item_shape", "layout")
"""The names of the options that a job may give."""


def import_nobuco() -> Any:
    """The module nobuco, with what it lacks; it puts its own functions into PyTorch for good."""
    torch_vision.declare_operators()
    with keras_engine.variables_put_back():
        keras_engine.prepare_environment(os.environ, "tensorflow")
        keras = import_module("keras")
    if not str(keras.__version__).startswith("2."):
        raise ImportError(f"nobuco works with Keras 2, and this is Keras {keras.__version__}")
    nobuco = import_module("nobuco")
    nobuco_operators.register()
    return nobuco


LATE_IMPORTS = (import_nobuco,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    The file is read back and run on a seeded input: `probe_max_abs_diff` is its largest difference
    to the program. It is recorded and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request, floats that are not float32, or an operator that
            nobuco does not convert; `model` if the source can't be read or run; `conversion` if
            nobuco fails, or the file can't be loaded and run, or an output is lost, of another shape
            or not finite.
    """
    layout = job.options.get("layout", "nhwc")
    if layout not in _LAYOUTS:
        raise unsupported(_NAME, "layout", layout, _LAYOUTS)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = torch_importing.read(job, _NAME, OPTIONS)
        _require_float32(source)
        fed, expected = source.fed, source.answers
        program = nobuco_program.Program(source.program)
        del source
        keras = keras_engine.load(job.threads, engine="tensorflow")
        axes = _axes(fed.ndim, layout)
        model = _converted(program, torch.from_numpy(fed), layout)
        del program
        with conversion.written(job.target, ".keras") as part:
            got = _run(keras, model, part, fed if axes is None else fed.transpose(axes))
            conversion.check_finite(got)
            conversion.require_alike(expected, got)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, _PACKAGES, difference, axes)


def _require_float32(source: torch_importing.Source) -> None:
    """Refuse what nobuco would make float32 of without a word."""
    if source.input.dtype != "float32":
        raise unsupported(_NAME, "dtype of the input", source.input.dtype, ("float32",))
    others = [kind for kind in source.floats if kind != "float32"]
    if others:
        raise RunnerError(
            "unsupported",
            f"{_NAME}: the program holds {', '.join(others)}, and nobuco makes layers of float32: "
            "export the program in float32",
        )


def _axes(rank: int, layout: str) -> Optional[Tuple[int, ...]]:
    """How the program's input is transposed to become the Keras model's."""
    if layout == "nchw" or rank < 3:
        return None
    return (0, *range(2, rank), 1)


def _converted(program: nobuco_program.Program, fed: Any, layout: str) -> Any:
    """The Keras model.

    Raises:
        RunnerError: `unsupported` for an operator, `conversion` where nobuco fails.
    """
    nobuco = import_nobuco()
    module = nobuco_program.replayed(program, _NAME)
    order = nobuco.ChannelOrder
    try:
        return nobuco.pytorch_to_keras(
            module,
            args=[fed],
            inputs_channel_order=order.TENSORFLOW if layout == "nhwc" else order.PYTORCH,
            outputs_channel_order=order.PYTORCH,
            # As layers they would be nobuco's own, which nobody else can load.
            constants_to_variables=False,
            full_validation=False,
            debug_traces=nobuco.TraceLevel.NEVER,
        )
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{_NAME}: nobuco can't convert the program: {failed.message}"
        raise type(failed)(failed.kind, message, failed.detail) from error


def _run(keras: keras_engine.Keras, model: Any, path: str, fed: np.ndarray) -> List[Any]:
    """Save the model, read it back, and run it."""
    try:
        model.save(path)
        loaded = keras.module.models.load_model(path, compile=False, safe_mode=True)
        return keras.run(loaded, np.ascontiguousarray(fed))
    except Exception as error:
        failed = classify(error, "conversion")
        message = (
            f"{_NAME}: nobuco made a model that can't be saved, loaded and run by Keras "
            f"{keras.version}: {failed.message}"
        )
        raise RunnerError(failed.kind, message, failed.detail) from error
