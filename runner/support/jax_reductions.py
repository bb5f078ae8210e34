"""ONNX operators in JAX that make one value of many: reductions, and where the largest is.

Results have the dtype that ONNX says, also where JAX would make integers larger ones or reals.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from runner.support.jax_node import Node, axes_of

Operator = Callable[..., Any]


def _reduce(function: Callable[..., Any]) -> Operator:
    def apply(node: Node, x: Any, axes: Any = None) -> Any:
        along = axes_of(node.given("axes", axes), x.ndim)
        if along is None and node.get("noop_with_empty_axes", 0):
            # No axis is reduced, and what is done to each element still is.
            along = ()
        made = function(x, axis=along, keepdims=bool(node.get("keepdims", 1)))
        return made.astype(x.dtype)

    return apply


def _sum(x: Any, **how: Any) -> Any:
    """In the dtype of `x`, where JAX would make small integers large ones."""
    return jnp.sum(x, dtype=x.dtype, **how)


def _average(x: Any, **how: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.mean(x, **how)
    total = _sum(x, **how)
    # Integers are divided as integers, towards zero.
    return lax.div(total, jnp.full_like(total, x.size // max(total.size, 1)))


def _norm2(x: Any, **how: Any) -> Any:
    return jnp.sqrt(_sum(x * x, **how))


def _arg(function: Callable[..., Any]) -> Operator:
    def apply(node: Node, x: Any) -> Any:
        axis = node.get("axis", 0)
        if node.get("select_last_index", 0):
            found = x.shape[axis] - 1 - function(jnp.flip(x, axis), axis=axis, keepdims=True)
        else:
            found = function(x, axis=axis, keepdims=True)
        found = found.astype(np.int64)
        return found if node.get("keepdims", 1) else jnp.squeeze(found, axis)

    return apply


REDUCTIONS: Dict[str, Operator] = {
    "ArgMax": _arg(jnp.argmax),
    "ArgMin": _arg(jnp.argmin),
    "ReduceL1": _reduce(lambda x, **how: _sum(jnp.abs(x), **how)),
    "ReduceL2": _reduce(_norm2),
    "ReduceLogSum": _reduce(lambda x, **how: jnp.log(_sum(x, **how))),
    "ReduceLogSumExp": _reduce(jax.nn.logsumexp),
    "ReduceMax": _reduce(jnp.max),
    "ReduceMean": _reduce(_average),
    "ReduceMin": _reduce(jnp.min),
    "ReduceProd": _reduce(lambda x, **how: jnp.prod(x, dtype=x.dtype, **how)),
    "ReduceSum": _reduce(_sum),
    "ReduceSumSquare": _reduce(lambda x, **how: _sum(x * x, **how)),
}
"""What is known, by ONNX's names."""
