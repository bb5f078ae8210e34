"""An exported program as a module that calls PyTorch's functions, which nobuco can trace.

nobuco sees calls of `torch`, `torch.nn.functional` and methods of tensors. An exported program calls
none of these but the operators below them (`aten`), which nobuco does not see.
"""

from __future__ import annotations

import operator
from importlib import import_module
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import torch
from torch.nn import functional
from torch.utils import _pytree as pytree

from runner.errors import RunnerError
from runner.support import nobuco_operators

Function = Callable[..., Any]


class Program:
    """An exported program, with every operation that writes into its input made one that does not.

    To be read before nobuco is imported, which changes PyTorch.

    Attributes:
        steps: name, operator, arguments and keywords of each operation; arguments are values, or
            the `Name` of one.
        held: weights and constants by name.
        fed: the name of the input.
        outputs: the names of the outputs.
    """

    def __init__(self, exported: Any) -> None:
        exported = exported.run_decompositions({})
        signature = exported.graph_signature
        self.fed: str = signature.user_inputs[0]
        self.outputs: Tuple[str, ...] = tuple(map(str, signature.user_outputs))
        stored = {**exported.state_dict, **exported.constants}
        named = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self.held: Dict[str, Any] = {
            name: stored[key].detach() for name, key in named.items() if key in stored
        }
        self.steps: List[Tuple[str, Any, Any, Any]] = [
            (node.name, node.target, _plain(node.args), _plain(node.kwargs))
            for node in exported.graph.nodes
            if node.op == "call_function"
        ]


class Name(str):
    """Stands for the value of that name among arguments."""

    __slots__ = ()


def _plain(values: Any) -> Any:
    """Arguments with names for nodes; numbers in tuples, for libraries tell these from lists."""
    if isinstance(values, torch.fx.Node):
        return Name(values.name)
    if isinstance(values, Mapping):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        plain = [_plain(value) for value in values]
        return plain if any(isinstance(value, Name) for value in plain) else tuple(plain)
    return values


def replayed(program: Program, name: str) -> Any:
    """A `torch.nn.Module` from the program's input to its outputs, for nobuco to trace.

    Args:
        program: read before nobuco was imported; it is imported now.
        name: the converter's, for messages.

    Raises:
        RunnerError: kind `unsupported`, naming the operators that nobuco has no converter for.
    """
    known = import_module("nobuco.commons").CONVERTER_DICT
    plain = import_module("nobuco.trace.trace").Tracer.op_undecorate
    functions: List[Tuple[str, Function, Any, Any]] = []
    missing = set()
    for step, target, arguments, keywords in program.steps:
        function = _function(target, lambda candidate: plain(candidate) in known)
        if function is None:
            missing.add(str(target))
        else:
            functions.append((step, function, arguments, keywords))
    if missing:
        raise RunnerError(
            "unsupported",
            f"{name}: nobuco has no converter for {', '.join(sorted(missing))}; export a program "
            "without it, or use another converter",
        )

    class Replayed(torch.nn.Module):
        def forward(self, fed: Any) -> Any:
            values = dict(program.held)
            values[program.fed] = fed

            def value(one: Any) -> Any:
                return values[one] if isinstance(one, Name) else one

            for step, function, arguments, keywords in functions:
                given, named = pytree.tree_map(value, (arguments, keywords))
                values[step] = function(*given, **named)
            return tuple(values[output] for output in program.outputs)

    return Replayed().eval()


def _function(target: Any, known: Callable[[Function], bool]) -> Any:
    """What is called for an operator; None where nobuco converts nothing of the kind."""
    if target is operator.getitem:
        return target
    schema = getattr(target, "_schema", None)
    stem = "" if schema is None else str(schema.name).partition("::")[2]
    if stem in _FUNCTIONS:
        return _FUNCTIONS[stem]
    for place in (functional, torch, torch.Tensor):
        function = getattr(place, stem, None) if stem else None
        if function is not None and known(function):
            return function
    return None


def _batch_norm(
    fed: Any, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, eps: float
) -> Tuple[Any]:
    return (functional.batch_norm(fed, mean, variance, weight, bias, False, momentum, eps),)


def _layer_norm(
    fed: Any,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> Any:
    del cudnn
    return functional.layer_norm(fed, shape, weight, bias, eps)


def _add(fed: Any, other: Any, alpha: float = 1) -> Any:
    return torch.add(fed, other if alpha == 1 else torch.mul(other, alpha))


def _sub(fed: Any, other: Any, alpha: float = 1) -> Any:
    return torch.sub(fed, other if alpha == 1 else torch.mul(other, alpha))


def _select(fed: Any, axis: int, index: int) -> Any:
    return fed[(slice(None),) * (axis % fed.dim()) + (index,)]


def _slice(fed: Any, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    end = None if end is None or end >= fed.shape[axis] else end
    return fed[(slice(None),) * (axis % fed.dim()) + (slice(start, end, step),)]


def _pad(fed: Any, pads: Sequence[int], value: float = 0.0) -> Any:
    return functional.pad(fed, pads, "constant", float(value))


def _same(fed: Any, *_: Any, **__: Any) -> Any:
    return fed


_FUNCTIONS: Dict[str, Function] = {
    "_native_batch_norm_legit_no_training": _batch_norm,
    "add": _add,
    "alias": _same,
    "avg_pool2d": nobuco_operators.avg_pool2d,
    "clone": _same,
    "constant_pad_nd": _pad,
    "contiguous": _same,
    "detach": _same,
    "layer_norm": _layer_norm,
    "lift_fresh_copy": _same,
    "max_pool2d": nobuco_operators.max_pool2d,
    "select": _select,
    "slice": _slice,
    "sub": _sub,
}
