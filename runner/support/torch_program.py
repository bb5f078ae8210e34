"""An exported program (`pt2`) on the device that a cell asks for, and what it takes and gives."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Tuple

import numpy as np
import torch
from torch.utils import _pytree as pytree

from runner.backends.base import LoadRequest, TensorSpec, comparable, only_input
from runner.errors import RunnerError, classify
from runner.support.torch_setup import GPU

_SEED = 0
# Neither is less than float32; others are: halves, bfloat16 and the floats of 8 bits.
_WHOLE = ("float32", "float64")


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
        weights, computed = _floats(_weights(self.exported)), _floats(_computed(self.exported))
        if request.precision == "f32":
            _require_float32(backend, weights, computed)
        self.weights_in, self.computes_in = list(weights), list(computed)

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
    """The tensors in what a module gives, in the order of its program's outputs.

    A program gives its outputs back in the containers of the module that was exported.
    """
    return [result] if isinstance(result, torch.Tensor) else list(pytree.tree_leaves(result))


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


def _weights(exported: Any) -> Iterator[Tuple[str, Any]]:
    """What a program holds, by name: tensors, and few other things among its constants."""
    for held_by in (exported.state_dict, exported.constants):
        yield from ((f"the weight {name}", value) for name, value in held_by.items())


def _computed(exported: Any) -> Iterator[Tuple[str, Any]]:
    """What a program's operators give, by their names: a tensor, or a container of some.

    Parts under a rule of their own (without gradients, with autocast) are graphs inside.
    """
    for part in exported.graph_module.modules():
        graph = getattr(part, "graph", None)
        for node in () if graph is None else graph.nodes:
            if node.op not in ("placeholder", "get_attr", "output"):
                yield str(node.name), node.meta.get("val")


def _floats(named: Iterable[Tuple[str, Any]]) -> Dict[str, List[str]]:
    """The kinds of floats among tensors, sorted, each with the names of those that are."""
    found: Dict[str, List[str]] = {}
    for name, values in named:
        for value in pytree.tree_leaves(values):
            dtype = _dtype(value) if isinstance(value, torch.Tensor) else ""
            if "float" in dtype and name not in found.setdefault(dtype, []):
                found[dtype].append(name)
    return {dtype: found[dtype] for dtype in sorted(found)}


def _require_float32(backend: str, *kinds: Mapping[str, List[str]]) -> None:
    narrow = [
        f"{name} in {dtype}"
        for floats in kinds
        for dtype, names in floats.items()
        if dtype not in _WHOLE
        for name in names
    ]
    if narrow:
        raise RunnerError(
            "unsupported",
            f"{backend}: the precision f32 is whole float32, and {len(narrow)} of the program's "
            f"weights and operators are less ({', '.join(narrow[:6])}): ask for the precision "
            "default, or export the program in float32",
        )


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).replace("torch.", "")


def _read(path: str) -> Any:
    try:
        return torch.export.load(path)
    except Exception as error:
        refused = classify(error, "model")
        message = f"{path}: {refused.message}"
        raise RunnerError(refused.kind, message, refused.detail) from error


def _spec(backend: str, name: Any, values: Mapping[Any, Any]) -> TensorSpec:
    value = values.get(name)
    if not isinstance(value, torch.Tensor):
        message = f"{backend}: {name!r} is not a tensor, and only tensors can be compared"
        raise RunnerError("unsupported", message)
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(
        name=str(name), dtype=comparable(backend, str(name), _dtype(value)), shape=shape
    )
