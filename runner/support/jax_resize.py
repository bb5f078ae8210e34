"""ONNX's `Resize` and `Upsample` in JAX: one axis after the other, with positions known beforehand."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import jax.numpy as jnp
import numpy as np

from runner.support.jax_node import Node, axes_of, refuse
from runner.support.onnx_resize import Rules, Target, targets

Taps = List[Tuple[np.ndarray, np.ndarray]]
"""What a new value is the sum of: old values by index, and their shares."""


def resize(node: Node, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    """`Resize`; before opset 11 its second input was the scales."""
    if node.opset < 11:
        scales = roi
    if node.get("exclude_outside", 0) or node.get("antialias", 0):
        raise refuse(node, "exclude_outside and antialias are not known")
    axes = axes_of(node.given("axes", None), x.ndim) or tuple(range(x.ndim))
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    return _resized(node, x, axes, scales, sizes, policy)


def upsample(node: Node, x: Any, scales: Any = None) -> Any:
    """`Upsample`, which `Resize` replaced in opset 10."""
    return _resized(node, x, tuple(range(x.ndim)), node.given("scales", scales), None, "stretch")


def _resized(
    node: Node, x: Any, axes: Tuple[int, ...], scales: Any, sizes: Any, policy: str
) -> Any:
    rules = Rules.of(node.kind, node.opset, node.attributes)
    factors = _numbers(node, "scales", scales)
    wanted = _numbers(node, "sizes", sizes)
    dtype = x.dtype
    whole = not jnp.issubdtype(dtype, jnp.floating)
    try:
        found = targets(
            x.shape, axes, factors, None if wanted is None else [int(n) for n in wanted], policy
        )
        for axis, target in found.items():
            if rules.mode == "nearest":
                x = jnp.take(x, target.nearest(rules).astype(np.int32), axis=axis)
            else:
                taps = _taps(node, target, rules)
                # Integers are interpolated as real numbers, and cut off at the very end.
                x = _interpolated(x.astype(np.float32) if whole else x, axis, taps)
    except ValueError as error:
        raise refuse(node, f"{error} is not known") from error
    if x.dtype == dtype:
        return x
    limits = jnp.iinfo(dtype)
    return jnp.clip(x, limits.min, limits.max).astype(dtype)


def _numbers(node: Node, name: str, given: Any) -> Optional[List[float]]:
    """The values of an optional input; None also where it is empty."""
    if given is None:
        return None
    return [float(number) for number in node.constant(name, given).reshape(-1)] or None


def _taps(node: Node, target: Target, rules: Rules) -> Taps:
    if rules.mode == "linear":
        low, high, share = target.linear(rules)
        return [(low, np.float32(1) - share), (high, share)]
    if rules.mode == "cubic":
        return list(zip(*target.cubic(rules, node.get("cubic_coeff_a", -0.75))))
    raise refuse(node, f"the mode {rules.mode} is not known")


def _interpolated(x: Any, axis: int, taps: Taps) -> Any:
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    total: Any = None
    for chosen, share in taps:
        factor = jnp.asarray(share.reshape(shape), dtype=x.dtype)
        part = jnp.take(x, chosen.astype(np.int32), axis=axis) * factor
        total = part if total is None else total + part
    return total
