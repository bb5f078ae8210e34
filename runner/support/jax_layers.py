"""ONNX operators in JAX: convolutions, pooling, normalisation, products.

As in `jax_operators`, each takes the node and its inputs. Values keep ONNX's layout (channels after
the batch), so nothing is transposed that XLA does not transpose by itself.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from runner.support.jax_node import Node, padding_of, refuse, windows_of
from runner.support.jax_reductions import REDUCTIONS

Operator = Callable[..., Any]
Sizes = Tuple[int, ...]


def _window(node: Node, spatial: int, name: str) -> Sizes:
    return tuple(int(size) for size in node.get(name, [1] * spatial))


def _numbers(spatial: int) -> Any:
    axes = tuple(range(spatial + 2))
    return lax.ConvDimensionNumbers(axes, axes, axes)


def _conv(node: Node, x: Any, weight: Any, bias: Any = None) -> Any:
    spatial = x.ndim - 2
    strides, dilations = _window(node, spatial, "strides"), _window(node, spatial, "dilations")
    kernel = tuple(weight.shape[2:])
    made = lax.conv_general_dilated(
        x,
        jnp.asarray(weight),
        strides,
        padding_of(node, windows_of(x.shape[2:], kernel, strides, dilations)),
        rhs_dilation=dilations,
        dimension_numbers=_numbers(spatial),
        feature_group_count=node.get("group", 1),
    )
    return made if bias is None else made + jnp.reshape(bias, (1, -1) + (1,) * spatial)


def _conv_transpose(node: Node, x: Any, weight: Any, bias: Any = None) -> Any:
    spatial, group = x.ndim - 2, node.get("group", 1)
    strides, dilations = _window(node, spatial, "strides"), _window(node, spatial, "dilations")
    extra = tuple(node.get("output_padding", [0] * spatial))
    reach = [(width - 1) * step + 1 for width, step in zip(weight.shape[2:], dilations)]
    pads = _transposed_pads(node, tuple(x.shape[2:]), strides, reach, extra)
    # [C, M / group, ...] to [M, C / group, ...], turned around: its own gradient's convolution.
    w = jnp.asarray(weight)
    parts = w.reshape(group, w.shape[0] // group, *w.shape[1:]).swapaxes(1, 2)
    turned = jnp.flip(parts.reshape(-1, *parts.shape[2:]), tuple(range(2, x.ndim)))
    padding = [
        (r - 1 - before, r - 1 - after + more)
        for r, (before, after), more in zip(reach, pads, extra)
    ]
    made = lax.conv_general_dilated(
        x,
        turned,
        (1,) * spatial,
        padding,
        lhs_dilation=strides,
        rhs_dilation=dilations,
        dimension_numbers=_numbers(spatial),
        feature_group_count=group,
    )
    return made if bias is None else made + jnp.reshape(bias, (1, -1) + (1,) * spatial)


def _transposed_pads(
    node: Node, sizes: Sizes, strides: Sizes, reach: List[int], extra: Sizes
) -> List[Tuple[int, int]]:
    """What a transposed convolution cuts off before and after each spatial axis."""
    auto, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(sizes, strides)]
    if wanted is None:
        return padding_of(node, windows_of(sizes, tuple(reach), strides, (1,) * len(sizes)))
    pairs = []
    for size, stride, r, more, target in zip(sizes, strides, reach, extra, wanted):
        total = max(0, stride * (size - 1) + more + r - target)
        less = total // 2
        pairs.append((less, total - less) if auto == "SAME_UPPER" else (total - less, less))
    return pairs


def _pool_padding(
    node: Node, x: Any, kernel: Sizes, strides: Sizes, dilations: Sizes
) -> Tuple[List[Tuple[int, int]], List[int]]:
    """The padding of a pool, and how much of it is there only to round its size up."""
    windows = windows_of(tuple(x.shape[2:]), kernel, strides, dilations)
    pads, ceil = padding_of(node, windows), node.get("ceil_mode", 0)
    return pads, [window.ceil_extra(pad) if ceil else 0 for window, pad in zip(windows, pads)]


def _reduce_window(
    x: Any, start: Any, function: Any, kernel: Sizes, strides: Sizes, dilations: Sizes, pads: Any
) -> Any:
    return lax.reduce_window(
        x,
        start,
        function,
        (1, 1, *kernel),
        (1, 1, *strides),
        [(0, 0), (0, 0), *pads],
        window_dilation=(1, 1, *dilations),
    )


def _max_pool(node: Node, x: Any) -> Any:
    spatial = x.ndim - 2
    kernel = _window(node, spatial, "kernel_shape")
    strides, dilations = _window(node, spatial, "strides"), _window(node, spatial, "dilations")
    pads, rounding = _pool_padding(node, x, kernel, strides, dilations)
    least: Any = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    padding = [(before, after + more) for (before, after), more in zip(pads, rounding)]
    return _reduce_window(
        x, np.asarray(least, x.dtype)[()], lax.max, kernel, strides, dilations, padding
    )


def _average_pool(node: Node, x: Any) -> Any:
    spatial = x.ndim - 2
    kernel = _window(node, spatial, "kernel_shape")
    strides, dilations = _window(node, spatial, "strides"), _window(node, spatial, "dilations")
    pads, rounding = _pool_padding(node, x, kernel, strides, dilations)
    zero = np.zeros((), x.dtype)[()]
    counted = np.ones((1, 1, *x.shape[2:]), x.dtype)
    beyond: Any = [(0, more) for more in rounding]
    if node.get("count_include_pad", 0):
        counted = np.pad(counted, [(0, 0), (0, 0), *pads], constant_values=1)
    else:
        beyond = [(before, after + more) for (before, after), more in zip(pads, rounding)]
    padding = [(before, after + more) for (before, after), more in zip(pads, rounding)]
    total = _reduce_window(x, zero, lax.add, kernel, strides, dilations, padding)
    return total / _reduce_window(
        jnp.asarray(counted), zero, lax.add, kernel, strides, dilations, beyond
    )


def _global(function: Callable[..., Any]) -> Operator:
    return lambda _node, x: function(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def _by_channel(values: Any, rank: int) -> Any:
    return jnp.reshape(values, (1, -1) + (1,) * (rank - 2))


def _batch_normalization(
    node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> Any:
    if node.get("training_mode", 0) or not node.get("spatial", 1):
        raise refuse(node, "it is not in inference mode over channels; export it for inference")
    root = jnp.sqrt(variance + jnp.asarray(node.get("epsilon", 1e-5), x.dtype))
    scale, bias, mean, root = (_by_channel(v, x.ndim) for v in (scale, bias, mean, root))
    return (x - mean) / root * scale + bias


def _standardised(x: Any, axes: Sizes, epsilon: float) -> Any:
    mean = jnp.mean(x, axis=axes, keepdims=True)
    apart = x - mean
    variance = jnp.mean(apart * apart, axis=axes, keepdims=True)
    return apart / jnp.sqrt(variance + jnp.asarray(epsilon, x.dtype))


def _instance_normalization(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    even = _standardised(x, tuple(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return even * _by_channel(scale, x.ndim) + _by_channel(bias, x.ndim)


def _layer_normalization(node: Node, x: Any, scale: Any, bias: Any = None) -> Any:
    axis = node.get("axis", -1) % x.ndim
    even = _standardised(x, tuple(range(axis, x.ndim)), node.get("epsilon", 1e-5)) * scale
    return even if bias is None else even + bias


def _group_normalization(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    groups = node.get("num_groups")
    parts = x.reshape(x.shape[0], groups, -1)
    even = _standardised(parts, (2,), node.get("epsilon", 1e-5))
    if len(scale) == groups != x.shape[1]:
        by_group = even * jnp.reshape(scale, (1, -1, 1)) + jnp.reshape(bias, (1, -1, 1))
        return by_group.reshape(x.shape)
    return even.reshape(x.shape) * _by_channel(scale, x.ndim) + _by_channel(bias, x.ndim)


def _lrn(node: Node, x: Any) -> Any:
    size = node.get("size")
    window = (1, size) + (1,) * (x.ndim - 2)
    pads = [(0, 0), ((size - 1) // 2, size - 1 - (size - 1) // 2)] + [(0, 0)] * (x.ndim - 2)
    zero = np.zeros((), x.dtype)[()]
    total = lax.reduce_window(x * x, zero, lax.add, window, (1,) * x.ndim, pads)
    alpha, beta, bias = (
        jnp.asarray(node.get(name, usual), x.dtype)
        for name, usual in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    return x / jnp.power(bias + alpha / size * total, beta)


def _lp_normalization(node: Node, x: Any) -> Any:
    axis, power = node.get("axis", -1), node.get("p", 2)
    if power == 1:
        return x / jnp.sum(jnp.abs(x), axis=axis, keepdims=True)
    return x / jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=True))


def _gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    a, b = jnp.asarray(a), jnp.asarray(b)
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    made = a @ b
    made = made if alpha == 1 else made * jnp.asarray(alpha, made.dtype)
    if c is None:
        return made
    return made + (c if beta == 1 else c * jnp.asarray(beta, made.dtype))


def _softmax(function: Callable[..., Any]) -> Operator:
    def apply(node: Node, x: Any) -> Any:
        if node.opset >= 13:
            return function(x, axis=node.get("axis", -1))
        axis = node.get("axis", 1)
        axis = axis + x.ndim if axis < 0 else axis
        # Before opset 13 everything from the axis on is one row.
        rows = x.reshape(int(np.prod(x.shape[:axis], dtype=int)), -1)
        return function(rows, axis=-1).reshape(x.shape)

    return apply


def _einsum(node: Node, *values: Any) -> Any:
    return jnp.einsum(node.get("equation"), *values)


def _along(values: Any, x: Any, axis: int) -> Any:
    """Scales of a whole tensor (one number) or of one axis, to be multiplied with `x`."""
    values = jnp.asarray(values)
    if values.size == 1:
        return values.reshape(())
    if values.ndim != 1:
        return None
    return values.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _quantize(node: Node, x: Any, scale: Any, zero: Any = None) -> Any:
    dtype = np.dtype(np.uint8) if zero is None else np.dtype(zero.dtype)
    axis = node.get("axis", 1)
    steps = _along(scale, x, axis)
    if steps is None or dtype.kind not in "iu":
        raise refuse(node, "only integers with a scale for the tensor or for an axis are known")
    offset = 0 if zero is None else _along(zero, x, axis).astype(x.dtype)
    limits = np.iinfo(dtype)
    return jnp.clip(jnp.round(x / steps) + offset, limits.min, limits.max).astype(dtype)


def _dequantize(node: Node, x: Any, scale: Any, zero: Any = None) -> Any:
    x = jnp.asarray(x)
    axis = node.get("axis", 1)
    steps = _along(scale, x, axis)
    if steps is None:
        raise refuse(node, "only a scale for the tensor or for an axis is known")
    whole = x.astype(np.int32)
    if zero is not None:
        whole = whole - _along(zero, x, axis).astype(np.int32)
    return whole.astype(steps.dtype) * steps


LAYERS: Dict[str, Operator] = {
    **REDUCTIONS,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(jnp.mean),
    "GlobalMaxPool": _global(jnp.max),
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LRN": _lrn,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _softmax(jax.nn.log_softmax),
    "LpNormalization": _lp_normalization,
    "MatMul": lambda _node, a, b: jnp.matmul(a, b),
    "MaxPool": _max_pool,
    "QuantizeLinear": _quantize,
    "Softmax": _softmax(jax.nn.softmax),
}
"""What is known, by ONNX's names."""
