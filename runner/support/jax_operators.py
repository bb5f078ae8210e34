"""ONNX operators in JAX: arithmetic, and what moves values without computing.

Each function takes the node and its inputs (None: left out) and gives the output or outputs. The
semantics, defaults included, are those of ONNX's operator reference.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Callable, Dict, List, Tuple

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import lax

from runner.support.jax_node import Node, axes_of, refuse
from runner.support.jax_resize import resize, upsample

Operator = Callable[..., Any]


def _unary(function: Callable[[Any], Any]) -> Operator:
    return lambda _node, x: function(x)


def _binary(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda _node, a, b: function(a, b)


def _variadic(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda _node, *values: reduce(function, values)


def _of(x: Any, number: Any) -> Any:
    """A number in the dtype of `x`."""
    return jnp.asarray(number, dtype=x.dtype)


def _clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    low = node.get("min") if low is None else low
    high = node.get("max") if high is None else high
    if low is not None:
        x = jnp.maximum(x, _of(x, low))
    return x if high is None else jnp.minimum(x, _of(x, high))


def _leaky_relu(node: Node, x: Any) -> Any:
    return jnp.where(x >= 0, x, x * _of(x, node.get("alpha", 0.01)))


def _elu(node: Node, x: Any) -> Any:
    return jnp.where(x > 0, x, _of(x, node.get("alpha", 1.0)) * jnp.expm1(jnp.minimum(x, 0)))


def _selu(node: Node, x: Any) -> Any:
    alpha = _of(x, node.get("alpha", 1.67326319217681884765625))
    gamma = _of(x, node.get("gamma", 1.05070102214813232421875))
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0)))


def _celu(node: Node, x: Any) -> Any:
    alpha = _of(x, node.get("alpha", 1.0))
    return jnp.maximum(x, 0) + jnp.minimum(0, alpha * jnp.expm1(x / alpha))


def _thresholded_relu(node: Node, x: Any) -> Any:
    return jnp.where(x > _of(x, node.get("alpha", 1.0)), x, _of(x, 0))


def _hard_sigmoid(node: Node, x: Any) -> Any:
    alpha, beta = _of(x, node.get("alpha", 0.2)), _of(x, node.get("beta", 0.5))
    return jnp.clip(alpha * x + beta, 0, 1)


def _hard_swish(_node: Node, x: Any) -> Any:
    return x * jnp.clip(x * _of(x, 1 / 6) + _of(x, 0.5), 0, 1)


def _gelu(node: Node, x: Any) -> Any:
    if node.get("approximate", "none") == "tanh":
        inner = _of(x, np.sqrt(2 / np.pi)) * (x + _of(x, 0.044715) * x * x * x)
        return _of(x, 0.5) * x * (1 + jnp.tanh(inner))
    return _of(x, 0.5) * x * (1 + lax.erf(x * _of(x, np.sqrt(0.5))))


def _mish(_node: Node, x: Any) -> Any:
    return x * jnp.tanh(jax.nn.softplus(x))


def _divide(a: Any, b: Any) -> Any:
    a, b = jnp.asarray(a), jnp.asarray(b)
    if jnp.issubdtype(a.dtype, jnp.integer):
        return lax.div(*jnp.broadcast_arrays(a, b))
    return a / b


def _mod(node: Node, a: Any, b: Any) -> Any:
    return jnp.fmod(a, b) if node.get("fmod", 0) else jnp.mod(a, b)


def _power(_node: Node, a: Any, b: Any) -> Any:
    a = jnp.asarray(a)
    whole = np.asarray(b).reshape(-1) if isinstance(b, np.ndarray) and b.size == 1 else None
    if whole is not None and whole[0] == 2:
        return a * a
    return jnp.power(a, b).astype(a.dtype)


def _prelu(_node: Node, x: Any, slope: Any) -> Any:
    return jnp.where(x < 0, x * slope, x)


def _mean(_node: Node, *values: Any) -> Any:
    return reduce(jnp.add, values) / _of(jnp.asarray(values[0]), len(values))


def _cast(node: Node, x: Any) -> Any:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(node.get("to"))
    return jnp.asarray(x).astype(dtype)


def _reshape(node: Node, x: Any, shape: Any = None) -> Any:
    wanted = node.given("shape", shape)
    if wanted is None:
        raise refuse(node, "it has no shape")
    sizes = [int(size) for size in wanted]
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return jnp.reshape(x, sizes)


def _flatten(node: Node, x: Any) -> Any:
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return jnp.reshape(x, (int(np.prod(x.shape[:axis], dtype=int)), -1))


def _transpose(node: Node, x: Any) -> Any:
    return jnp.transpose(x, node.get("perm"))


def _squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    return jnp.squeeze(x, axes_of(node.given("axes", axes), x.ndim))


def _unsqueeze(node: Node, x: Any, axes: Any = None) -> Any:
    given = node.given("axes", axes)
    if given is None:
        raise refuse(node, "it has no axes")
    return jnp.expand_dims(x, axes_of(given, x.ndim + given.size) or ())


def _concat(node: Node, *values: Any) -> Any:
    return jnp.concatenate(values, axis=node.get("axis", 1))


def _split(node: Node, x: Any, split: Any = None) -> List[Any]:
    axis = node.get("axis", 0)
    sizes = node.given("split", split)
    if sizes is None:
        step = -(-x.shape[axis] // node.get("num_outputs", node.outputs))
        borders = list(range(step, x.shape[axis], step))
    else:
        borders = [int(border) for border in np.cumsum(sizes)[:-1]]
    return list(jnp.split(x, borders, axis=axis))


def _slice(
    node: Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> Any:
    first, last = node.given("starts", starts), node.given("ends", ends)
    if first is None or last is None:
        raise refuse(node, "it has no starts and ends")
    along = axes_of(node.given("axes", axes), x.ndim) or tuple(range(len(first)))
    strides = node.given("steps", steps)
    chosen = [slice(None)] * x.ndim
    for index, axis in enumerate(along):
        step = 1 if strides is None else int(strides[index])
        end = int(last[index])
        # Going backwards, ONNX writes "to the very front" as a number far below zero.
        stop = None if step < 0 and end < -x.shape[axis] else end
        chosen[axis] = slice(int(first[index]), stop, step)
    return x[tuple(chosen)]


def _gather(node: Node, x: Any, indices: Any) -> Any:
    axis = node.get("axis", 0)
    x, indices = jnp.asarray(x), jnp.asarray(indices)
    return jnp.take(x, jnp.where(indices < 0, indices + x.shape[axis], indices), axis=axis)


def _expand(node: Node, x: Any, shape: Any) -> Any:
    wanted = tuple(int(size) for size in node.constant("shape", shape))
    return jnp.broadcast_to(x, np.broadcast_shapes(x.shape, wanted))


def _tile(node: Node, x: Any, repeats: Any) -> Any:
    return jnp.tile(x, [int(count) for count in node.constant("repeats", repeats)])


def _pad(node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    given = node.given("pads", pads)
    if given is None:
        raise refuse(node, "it has no pads")
    along = axes_of(node.given("axes", axes), x.ndim) or tuple(range(x.ndim))
    half = len(given) // 2
    widths: List[Tuple[int, int]] = [(0, 0)] * x.ndim
    for index, axis in enumerate(along):
        widths[axis] = (int(given[index]), int(given[half + index]))
    kept = tuple(slice(max(0, -a), size - max(0, -b)) for (a, b), size in zip(widths, x.shape))
    grown = [(max(0, a), max(0, b)) for a, b in widths]
    mode = node.get("mode", "constant")
    if mode != "constant":
        return jnp.pad(x[kept], grown, mode=mode)
    filled = node.get("value", 0.0) if value is None else value
    return jnp.pad(x[kept], grown, constant_values=_of(x, filled).reshape(()))


def _shape(node: Node, x: Any) -> np.ndarray:
    return np.array(x.shape[node.get("start", 0) : node.get("end")], dtype=np.int64)


def _size(_node: Node, x: Any) -> np.ndarray:
    return np.array(np.prod(x.shape, dtype=np.int64))


def _depth_to_space(node: Node, x: Any) -> Any:
    block = node.get("blocksize")
    n, c, h, w = x.shape
    if node.get("mode", "DCR") == "DCR":
        split = x.reshape(n, block, block, c // block**2, h, w)
        return split.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // block**2, h * block, w * block)
    split = x.reshape(n, c // block**2, block, block, h, w)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(node: Node, x: Any) -> Any:
    block = node.get("blocksize")
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // block, block, w // block, block)
    return split.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * block**2, h // block, w // block)


def _dropout(node: Node, x: Any, _ratio: Any = None, training: Any = None) -> List[Any]:
    if training is not None and bool(node.constant("training_mode", training)):
        raise refuse(node, "it is in training mode; export the model for inference")
    return [x, jnp.ones(x.shape, bool)]


OPERATORS: Dict[str, Operator] = {
    "Abs": _unary(jnp.abs),
    "Add": _binary(jnp.add),
    "And": _binary(jnp.logical_and),
    "Cast": _cast,
    "Ceil": _unary(jnp.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Concat": _concat,
    "Cos": _unary(jnp.cos),
    "DepthToSpace": _depth_to_space,
    "Div": _binary(_divide),
    "Dropout": _dropout,
    "Elu": _elu,
    "Equal": _binary(jnp.equal),
    "Erf": _unary(lax.erf),
    "Exp": _unary(jnp.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(jnp.floor),
    "Gather": _gather,
    "Gelu": _gelu,
    "Greater": _binary(jnp.greater),
    "GreaterOrEqual": _binary(jnp.greater_equal),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _unary(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Less": _binary(jnp.less),
    "LessOrEqual": _binary(jnp.less_equal),
    "Log": _unary(jnp.log),
    "Max": _variadic(jnp.maximum),
    "Mean": _mean,
    "Min": _variadic(jnp.minimum),
    "Mish": _mish,
    "Mod": _mod,
    "Mul": _binary(jnp.multiply),
    "Neg": _unary(jnp.negative),
    "Not": _unary(jnp.logical_not),
    "Or": _binary(jnp.logical_or),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _power,
    "Reciprocal": _unary(lambda x: 1 / x),
    "Relu": _unary(lambda x: jnp.maximum(x, 0)),
    "Reshape": _reshape,
    "Resize": resize,
    "Round": _unary(jnp.round),
    "Selu": _selu,
    "Shape": _shape,
    "Sigmoid": _unary(lax.logistic),
    "Sign": _unary(jnp.sign),
    "Sin": _unary(jnp.sin),
    "Size": _size,
    "Slice": _slice,
    "Softplus": _unary(jax.nn.softplus),
    "Softsign": _unary(lambda x: x / (1 + jnp.abs(x))),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Sqrt": _unary(jnp.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(jnp.subtract),
    "Sum": _variadic(jnp.add),
    "Tanh": _unary(jnp.tanh),
    "ThresholdedRelu": _thresholded_relu,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": upsample,
    "Where": lambda _node, choice, a, b: jnp.where(choice, a, b),
}
"""What is known, by ONNX's names."""
