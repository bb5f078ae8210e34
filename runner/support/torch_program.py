"""An exported program (`pt2`) on the device that a cell asks for, and what it takes and gives."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Mapping, Tuple

import numpy as np
import torch

from runner.backends.base import LoadRequest, TensorSpec, only_input
from runner.errors import RunnerError, classify
from runner.support.torch_setup import GPU

_SEED = 0


class TorchProgram:
    """A program that was read: its input and outputs, its module, an input to try it with."""

    def __init__(self, backend: str, request: LoadRequest, settings: Mapping[str, Any]) -> None:
        self.backend = backend
        self.request = request
        self.settings = settings
        self.device = GPU if request.device == "cuda" else "cpu"
        self.exported = _read(request.path)
        signature = self.exported.graph_signature
        values = {node.name: node.meta.get("val") for node in self.exported.graph.nodes}
        only_input(backend, list(signature.user_inputs))
        self.input = _spec(backend, signature.user_inputs[0], values)
        self.outputs = tuple(_spec(backend, name, values) for name in signature.user_outputs)

    def moved(self) -> Any:
        """The exported program on its device, with what its graph makes by itself.

        Raises:
            RunnerError: kind `unsupported`, where this PyTorch can't move a program.
        """
        if self.device == "cpu":
            return self.exported
        try:
            from torch.export.passes import move_to_device_pass
        except ImportError as error:
            raise RunnerError(
                "unsupported",
                f"{self.backend}: PyTorch {torch.__version__} can't move an exported program to "
                "the GPU; use PyTorch 2.6 or later",
            ) from error
        return move_to_device_pass(self.exported, self.device)

    def module(self) -> Any:
        """The program's module on its device."""
        if self.device == "cpu":
            return self.exported.module()
        try:
            return self.moved().module()
        except RunnerError:
            # Before PyTorch 2.6: what stays behind is found by `prove`.
            return self.exported.module().to(self.device)

    def example(self) -> Any:
        """A seeded input on the device: normal, or small integers, in the program's own shape."""
        fed = (self.request.batch,) + tuple(self.request.item_shape)
        declared = self.input.shape or fed
        shape = [
            int(fed[axis]) if size is None else size
            for axis, size in enumerate(declared)
            if size is not None or axis < len(fed)
        ]
        generator = np.random.Generator(np.random.PCG64(_SEED))
        if np.dtype(self.input.dtype).kind == "f":
            values: Any = generator.standard_normal(shape)
        else:
            values = generator.integers(0, 2, size=shape)
        return on_device(torch.from_numpy(values.astype(self.input.dtype)), self.device)

    def close(self) -> None:
        """Drop the program and its weights."""
        self.exported = None


def on_device(tensor: Any, device: str) -> Any:
    """The tensor itself on the CPU, and a copy on a GPU."""
    return tensor if device == "cpu" else tensor.to(device)


def as_list(result: Any) -> List[Any]:
    """What a module gives, as the list of its tensors."""
    return [result] if isinstance(result, torch.Tensor) else list(result)


def held(module: Any) -> Iterator[Tuple[str, Any]]:
    """Every tensor that a module holds: parameters, buffers, and constants as plain attributes."""
    yield from module.named_parameters()
    yield from module.named_buffers()
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                yield f"{prefix}.{name}".lstrip("."), value


def made_on_cpu(module: Any) -> Dict[str, str]:
    """The operators of a graph that make a tensor on the CPU while it runs."""
    found = {}
    graph = getattr(module, "graph", None)
    for node in () if graph is None else graph.nodes:
        device = node.kwargs.get("device")
        if device is not None and str(device).startswith("cpu"):
            found[str(node.name)] = str(device)
    return found


def _read(path: str) -> Any:
    try:
        return torch.export.load(path)
    except Exception as error:
        refused = classify(error, "model")
        message = f"{path}: {refused.message}"
        raise RunnerError(refused.kind, message, refused.detail) from error


def check_file(path: str) -> None:
    """Refuse what is no file, before anything is set up for it.

    Raises:
        RunnerError: kind `model`.
    """
    if not os.path.isfile(path):
        raise RunnerError("model", f"no such model file: {path}")


def _spec(backend: str, name: Any, values: Mapping[Any, Any]) -> TensorSpec:
    value = values.get(name)
    if not isinstance(value, torch.Tensor):
        message = f"{backend}: {name!r} is not a tensor, and only tensors can be compared"
        raise RunnerError("unsupported", message)
    dtype = str(value.dtype).replace("torch.", "")
    if dtype in ("bfloat16", "complex64", "complex128") or dtype.startswith("float8"):
        message = f"{backend}: {name!r} is {dtype}, which NumPy does not know"
        raise RunnerError("unsupported", message)
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(name=str(name), dtype=dtype, shape=shape)
