"""ONNX's `Resize` and `Upsample` in JAX: one axis after the other, with positions known beforehand."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import jax.numpy as jnp
import numpy as np

from runner.support.jax_node import Node, axes_of, refuse

_ROUNDING: Dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(node: Node, x: Any, _roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    """`Resize` of opset 11 and later; before, its second input was the scales."""
    if node.opset < 11:
        return upsample(node, x, _roi)
    axes = axes_of(node.given("axes", None), x.ndim) or tuple(range(x.ndim))
    targets = _targets(node, x, axes, scales, sizes)
    if node.get("exclude_outside", 0) or node.get("antialias", 0):
        raise refuse(node, "exclude_outside and antialias are not known")
    mode = node.get("mode", "nearest")
    how = node.get("coordinate_transformation_mode", "half_pixel")
    for axis, size, scale in targets:
        if size != x.shape[axis] or scale != 1:
            at = _positions(node, how, x.shape[axis], size, scale)
            x = _resampled(node, x, axis, at, mode)
    return x


def upsample(node: Node, x: Any, scales: Any = None) -> Any:
    """`Upsample` (and `Resize` of opset 10): from the first pixel on, without halves."""
    given = node.given("scales", scales)
    if given is None:
        raise refuse(node, "it has no scales")
    mode = node.get("mode", "nearest")
    for axis, factor in enumerate(given):
        if factor != 1:
            size = int(np.floor(x.shape[axis] * float(factor)))
            at = np.arange(size) / float(factor)
            x = _resampled(node, x, axis, np.floor(at) if mode == "nearest" else at, mode)
    return x


def _targets(
    node: Node, x: Any, axes: Tuple[int, ...], scales: Any, sizes: Any
) -> List[Tuple[int, int, float]]:
    """Axis, new size and scale of what is resized."""
    wanted: Optional[np.ndarray] = None if sizes is None else node.constant("sizes", sizes)
    if wanted is not None and wanted.size:
        factors = [int(size) / x.shape[axis] for axis, size in zip(axes, wanted)]
        policy = node.get("keep_aspect_ratio_policy", "stretch")
        if policy == "stretch":
            return [(axis, int(s), f) for axis, s, f in zip(axes, wanted, factors)]
        one = min(factors) if policy == "not_larger" else max(factors)
        return [(axis, int(np.floor(x.shape[axis] * one + 0.5)), one) for axis in axes]
    if scales is None:
        raise refuse(node, "it has neither scales nor sizes")
    given = [float(factor) for factor in node.constant("scales", scales)]
    return [(a, int(np.floor(x.shape[a] * f)), f) for a, f in zip(axes, given)]


def _positions(node: Node, how: str, before: int, after: int, scale: float) -> np.ndarray:
    """Where each new value lies among the old ones."""
    at = np.arange(after, dtype=np.float64)
    if how == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if how == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if after > 1 else np.zeros(1)
    if how == "asymmetric":
        return at / scale
    if how == "align_corners":
        return at * ((before - 1) / (after - 1)) if after > 1 else np.zeros(1)
    if how == "half_pixel_symmetric":
        offset = before / 2 * (1 - after / (scale * before))
        return offset + (at + 0.5) / scale - 0.5
    raise refuse(node, f"coordinate_transformation_mode {how} is not known")


def _resampled(node: Node, x: Any, axis: int, at: np.ndarray, mode: str) -> Any:
    last = x.shape[axis] - 1
    if mode == "nearest":
        rounding = node.get("nearest_mode", "round_prefer_floor")
        chosen = np.clip(_ROUNDING[rounding](at), 0, last).astype(np.int32)
        return jnp.take(x, chosen, axis=axis)
    whole = np.floor(at)
    part = at - whole
    weights: Tuple[np.ndarray, ...]
    if mode == "linear":
        first, weights = 0, (1 - part, part)
    elif mode == "cubic":
        first, weights = -1, _cubic(part, node.get("cubic_coeff_a", -0.75))
    else:
        raise refuse(node, f"the mode {mode} is not known")
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    total: Any = 0
    for tap, weight in enumerate(weights):
        chosen = np.clip(whole + first + tap, 0, last).astype(np.int32)
        factor = jnp.asarray(weight.reshape(shape), dtype=x.dtype)
        total = total + jnp.take(x, chosen, axis=axis) * factor
    return total


def _cubic(f: np.ndarray, a: float) -> Tuple[np.ndarray, ...]:
    """Keys' cubic convolution at the four neighbours (IEEE Trans. ASSP 29, 1981)."""
    return (
        ((a * (f + 1) - 5 * a) * (f + 1) + 8 * a) * (f + 1) - 4 * a,
        ((a + 2) * f - (a + 3)) * f * f + 1,
        ((a + 2) * (1 - f) - (a + 3)) * (1 - f) * (1 - f) + 1,
        ((a * (2 - f) - 5 * a) * (2 - f) + 8 * a) * (2 - f) - 4 * a,
    )
