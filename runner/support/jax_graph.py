"""An ONNX graph as a function of JAX arrays.

The weights are the function's arguments, so that an exported function holds none. What depends on
no input (arithmetic of shapes, since the batch is fixed, and of constants) is computed beforehand
by ONNX's own reference evaluator; the rest is looked up in `jax_operators` and `jax_layers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
import onnx

from runner.errors import RunnerError, classify
from runner.support import onnx_folding, onnx_model, onnx_patterns
from runner.support.jax_layers import LAYERS
from runner.support.jax_node import Node, refuse
from runner.support.jax_operators import OPERATORS

_TABLE = {**OPERATORS, **LAYERS}
_SMALL = 16
"""Values with fewer elements stay in the function: shapes, axes, limits, scalars."""


@dataclass(frozen=True)
class Program:
    """A function of `(input, *weights)` to a tuple of outputs, and its weights in order."""

    function: Callable[..., Tuple[Any, ...]]
    weights: Tuple[np.ndarray, ...]
    outputs: Tuple[str, ...]


def translate(model: Any, fed: Tuple[int, ...]) -> Program:
    """The program of a model whose one input has the shape `fed`.

    Raises:
        RunnerError: kind `unsupported`, naming the operators that nothing is known of.
    """
    model = onnx_patterns.inlined(model)
    opset = onnx_model.supported_opset(model, "onnx>jax")
    _check_operators(model)
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    entry = onnx_model.inputs(model)[0].name
    shapes = {entry: fed}
    nodes = _without_constants(model.graph.node, known, shapes, opset)
    used = {name for node in nodes for name in node.input}
    used.update(value.name for value in model.graph.output)
    names = [name for name, value in known.items() if name in used and value.size >= _SMALL]
    small = {name: value for name, value in known.items() if name in used and name not in names}
    outputs = tuple(value.name for value in model.graph.output)

    def function(fed: Any, *weights: Any) -> Tuple[Any, ...]:
        values: Dict[str, Any] = {**small, **dict(zip(names, weights)), entry: fed}
        for node in nodes:
            _run(node, values, opset)
        return tuple(values[name] for name in outputs)

    return Program(function, tuple(known[name] for name in names), outputs)


def _run(proto: Any, values: Dict[str, Any], opset: int) -> None:
    """Compute one node, from and into `values`."""
    node = Node.read(proto, opset)
    arguments = [values[name] if name else None for name in proto.input]
    if _is_concrete(arguments):
        results = onnx_folding.evaluate(proto, arguments, {"": opset})
    elif proto.op_type not in _TABLE:
        raise RunnerError(
            "unsupported",
            f"onnx>jax: {node.label} depends on the input, and {proto.op_type} is known only where "
            "its result is known beforehand: run the model by another stack, or export it without "
            "this operator",
        )
    else:
        try:
            made = _TABLE[proto.op_type](node, *arguments)
        except RunnerError:
            raise
        except Exception as error:
            failed = classify(error, "conversion")
            message = f"{node.label} can't be written in JAX: {failed.message}"
            raise RunnerError(failed.kind, message, failed.detail) from error
        results = list(made) if isinstance(made, (tuple, list)) else [made]
    wanted = [name for name in proto.output if name]
    if len(wanted) > len(results):
        raise refuse(node, f"{len(wanted)} outputs are used and JAX's translation has one")
    values.update(zip(proto.output, results))


def _without_constants(
    nodes: Sequence[Any], known: Dict[str, np.ndarray], shapes: Dict[str, Any], opset: int
) -> List[Any]:
    """The nodes that are left once those of constants are computed into `known`."""
    left = []
    for proto in nodes:
        if proto.op_type == "Shape" and proto.input[0] in shapes:
            stand_in = np.broadcast_to(np.float32(0), shapes[proto.input[0]])
            known.update(zip(proto.output, onnx_folding.evaluate(proto, [stand_in], {"": opset})))
        elif all(not name or name in known for name in proto.input):
            arguments = [known[name] if name else None for name in proto.input]
            known.update(zip(proto.output, onnx_folding.evaluate(proto, arguments, {"": opset})))
        else:
            left.append(proto)
    return left


def _is_concrete(arguments: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, (np.ndarray, np.generic)) for value in arguments)


def _check_operators(model: Any) -> None:
    foreign = {n.op_type for n in model.graph.node if n.domain not in onnx_model.STANDARD}
    unknown = {n.op_type for n in model.graph.node} - set(_TABLE) - _ONLY_CONSTANT
    missing = sorted(foreign | unknown)
    if missing:
        raise RunnerError(
            "unsupported",
            f"onnx>jax does not know the operators {', '.join(missing)}; it knows "
            f"{', '.join(sorted(_TABLE))}",
        )


_ONLY_CONSTANT = {"Constant", "ConstantOfShape", "Range", "NonZero", "EyeLike", "Size"}
"""Operators that only occur where their result is known beforehand."""
