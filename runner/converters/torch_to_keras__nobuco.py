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
from torch.utils import _pytree as pytree

from runner.backends.base import only_input, unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    keras_engine,
    nobuco_operators,
    nobuco_program,
    torch_vision,
)

_NAME = "torch>keras:nobuco"
_PACKAGES = ("nobuco", "torch", "tensorflow", "tensorflow-cpu", "keras", "numpy")
_LAYOUTS = ("nhwc", "nchw")
_SEED = 0

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
        RunnerError: `unsupported` for the request, or an operator that nobuco does not convert;
            `model` if the source can't be read; `conversion` if nobuco fails, or the file can't be
            loaded and run, or an output has another shape or is not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    layout = job.options.get("layout", "nhwc")
    if layout not in _LAYOUTS:
        raise unsupported(_NAME, "layout", layout, _LAYOUTS)
    torch.set_num_threads(job.threads)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = _read(job)
        probe = _probe(exported, batch, item_shape)
        fed = torch.from_numpy(probe)
        expected = _answers(exported, fed)
        program = nobuco_program.Program(exported)
        del exported
        keras = keras_engine.load(job.threads, engine="tensorflow")
        axes = _axes(probe.ndim, layout)
        model = _converted(program, fed, layout)
        del program
        with conversion.written(job.target, ".keras") as part:
            got = _run(keras, model, part, probe if axes is None else probe.transpose(axes))
            _check(expected, got)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, _PACKAGES, difference, axes)


def _read(job: ConvertJob) -> Any:
    if job.source_format != "pt2":
        raise unsupported(_NAME, "source format", job.source_format, ("pt2",))
    try:
        exported = torch.export.load(job.source)
    except Exception as error:
        refused = classify(error, "model")
        message = f"{job.source}: {refused.message}"
        raise RunnerError(refused.kind, message, refused.detail) from error
    only_input(_NAME, list(exported.graph_signature.user_inputs))
    narrow = [
        f"{name} is {tensor.dtype}"
        for name, tensor in exported.state_dict.items()
        if tensor.is_floating_point() and tensor.dtype != torch.float32
    ]
    if narrow:
        raise RunnerError(
            "unsupported",
            f"{_NAME}: nobuco makes layers of float32, and {len(narrow)} of the program's weights "
            f"are other floats ({', '.join(narrow[:3])}): export the program in float32",
        )
    return exported


def _probe(exported: Any, batch: int, item_shape: Optional[Tuple[int, ...]]) -> np.ndarray:
    """A seeded input of the program's own shape, float32.

    Raises:
        RunnerError: kind `unsupported`, if it takes another shape or dtype than is asked for.
    """
    (name,) = exported.graph_signature.user_inputs
    (value,) = [n.meta["val"] for n in exported.graph.nodes if n.name == name]
    if value.dtype != torch.float32:
        raise unsupported(_NAME, "dtype of the input", str(value.dtype), ("torch.float32",))
    declared = [size if isinstance(size, int) else None for size in value.shape]
    wanted = [batch, *(item_shape or declared[1:])]
    if any(size is None for size in wanted):
        message = f"{_NAME}: the program leaves more than the batch open; give item_shape"
        raise RunnerError("unsupported", message)
    misfit = len(wanted) != len(declared) or any(
        size not in (None, want) for size, want in zip(declared, wanted)
    )
    if misfit:
        raise RunnerError(
            "unsupported",
            f"{_NAME}: the program takes {declared} and {wanted} was asked for: export it for that",
        )
    generator = np.random.Generator(np.random.PCG64(_SEED))
    return generator.standard_normal(tuple(wanted)).astype(np.float32)


def _answers(exported: Any, fed: Any) -> List[np.ndarray]:
    with torch.inference_mode():
        leaves = pytree.tree_leaves(exported.module()(fed))
    return [np.array(tensor.numpy()) for tensor in leaves]


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


def _check(expected: List[np.ndarray], got: List[np.ndarray]) -> None:
    shapes = [[list(one.shape) for one in outputs] for outputs in (expected, got)]
    if shapes[0] != shapes[1]:
        raise RunnerError(
            "conversion",
            f"{_NAME}: the program gives outputs of the shapes {shapes[0]} and nobuco's model "
            f"{shapes[1]}: it misread an operator; use another converter",
        )
    conversion.check_finite(got)
