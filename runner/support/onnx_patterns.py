"""Activations that exporters write as several nodes, put together again before a conversion.

PyTorch writes GELU, SiLU, Mish and Hardswish so where the opset has no operator for them, and a
linear layer of rank 3 as a product and a sum. The formulas are the same; frameworks have them as
one operation (and TensorFlow Lite has no erf but in GELU).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

DOMAIN = "pattern"
"""The domain of the nodes that are made here and that ONNX has not."""


def inlined(model: Any) -> Any:
    """A model without functions of its own: each call is replaced by what it does."""
    if not model.functions:
        return model
    from onnx import inliner

    return inliner.inline_local_functions(model)


def rewritten(graph: Any) -> List[Any]:
    """The nodes of a graph in order, patterns replaced by one node each."""
    return _Rewriter(graph).run()


class _Rewriter:
    """Finds patterns from their last node backwards."""

    def __init__(self, graph: Any) -> None:
        self._nodes = list(graph.node)
        self._made: Dict[str, Any] = {name: node for node in self._nodes for name in node.output}
        self._uses = Counter(name for node in self._nodes for name in node.input)
        self._uses.update(value.name for value in graph.output)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._gone: Set[str] = set()

    def run(self) -> List[Any]:
        """All nodes that are left, in order."""
        replaced: Dict[str, Any] = {}
        for node in reversed(self._nodes):
            if node.op_type not in ("Mul", "Add") or node.output[0] in self._gone:
                continue
            if node.op_type == "Add":
                made = self._linear(node)
            else:
                made = self._gelu(node) or self._gated(node)
            if made is not None:
                replaced[node.output[0]] = made
        left = [node for node in self._nodes if not self._is_gone(node)]
        return [replaced.get(node.output[0], node) if node.output else node for node in left]

    def _is_gone(self, node: Any) -> bool:
        return any(name in self._gone for name in node.output)

    def _gated(self, node: Any) -> Optional[Any]:
        """Multiplying x by sigmoid(x), tanh(softplus(x)) or hardsigmoid(x)."""
        for x, gate in _both_ways(node):
            inner = self._only(gate, ("Sigmoid", "HardSigmoid", "Tanh"))
            if inner is None:
                continue
            if inner.op_type == "Sigmoid" and inner.input[0] == x:
                return self._replace(node, "Silu", [x], [inner])
            if inner.op_type == "HardSigmoid" and inner.input[0] == x and _is_hardswish(inner):
                return self._replace(node, "HardSwish", [x], [inner])
            if inner.op_type == "Tanh":
                soft = self._only(inner.input[0], ("Softplus",))
                if soft is not None and soft.input[0] == x:
                    return self._replace(node, "Mish", [x], [inner, soft])
        return None

    def _linear(self, node: Any) -> Optional[Any]:
        """A product with a matrix of weights, and a sum with a vector."""
        for bias, product in _both_ways(node):
            inner = self._only(product, ("MatMul",))
            vector = self._constants.get(bias)
            matrix = None if inner is None else self._constants.get(inner.input[1])
            if inner is None or vector is None or matrix is None:
                continue
            if len(matrix.dims) == 2 and list(vector.dims) == [matrix.dims[1]]:
                return self._replace(node, "Linear", [*inner.input, bias], [inner])
        return None

    def _gelu(self, node: Any) -> Optional[Any]:
        """GELU: x * 0.5 * (1 + erf(x / sqrt 2)), the three factors in any order."""
        for factors, inner in self._three_factors(node):
            for first, second, third in _orders(factors):
                if not self._is_number(second, 0.5):
                    continue
                found = self._one_plus_erf(third, first)
                if found:
                    return self._replace(node, "Gelu", [first], [inner, *found])
        return None

    def _three_factors(self, node: Any) -> List[Tuple[Tuple[str, str, str], Any]]:
        found = []
        for kept, product in _both_ways(node):
            inner = self._only(product, ("Mul",))
            if inner is not None:
                found.append(((kept, inner.input[0], inner.input[1]), inner))
        return found

    def _one_plus_erf(self, name: str, x: str) -> Optional[List[Any]]:
        """The nodes of 1 + erf(x / sqrt 2), if that is what makes `name`."""
        total = self._only(name, ("Add",))
        if total is None:
            return None
        for one, error in _both_ways(total):
            erf = self._only(error, ("Erf",)) if self._is_number(one, 1.0) else None
            scaled = self._only(erf.input[0], ("Div", "Mul")) if erf is not None else None
            if erf is not None and scaled is not None and self._is_over_root(scaled, x):
                return [total, erf, scaled]
        return None

    def _is_over_root(self, node: Any, x: str) -> bool:
        if node.op_type == "Div":
            return bool(node.input[0] == x) and self._is_number(node.input[1], math.sqrt(2))
        return any(
            first == x and self._is_number(second, math.sqrt(0.5))
            for first, second in _both_ways(node)
        )

    def _replace(self, node: Any, kind: str, inputs: Sequence[str], inner: Sequence[Any]) -> Any:
        self._gone.update(name for one in inner for name in one.output)
        name = node.name or node.output[0]
        return helper.make_node(kind, list(inputs), list(node.output), name=name, domain=DOMAIN)

    def _only(self, name: str, kinds: Tuple[str, ...]) -> Optional[Any]:
        """The node that makes `name`, if it is of these kinds and nothing else reads it."""
        node = self._made.get(name)
        known = node is not None and node.op_type in kinds and node.domain in ("", "ai.onnx")
        return node if known and self._uses[name] == 1 else None

    def _is_number(self, name: str, value: float) -> bool:
        tensor = self._constants.get(name)
        made = self._made.get(name)
        if tensor is None and made is not None and made.op_type == "Constant":
            tensor = next(
                (a.t for a in made.attribute if a.type == onnx.AttributeProto.TENSOR), None
            )
        if tensor is None or int(np.prod(tensor.dims, dtype=np.int64)) != 1:
            return False
        found = float(numpy_helper.to_array(tensor).reshape(()))
        return math.isclose(found, value, rel_tol=1e-6)


def _both_ways(node: Any) -> Tuple[Tuple[str, str], Tuple[str, str]]:
    first, second = node.input
    return (first, second), (second, first)


def _orders(names: Tuple[str, str, str]) -> List[Tuple[str, str, str]]:
    a, b, c = names
    return [(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)]


def _is_hardswish(node: Any) -> bool:
    found = {a.name: a.f for a in node.attribute}
    return math.isclose(found.get("alpha", 0.2), 1 / 6, rel_tol=1e-6) and math.isclose(
        found.get("beta", 0.5), 0.5, rel_tol=1e-6
    )
