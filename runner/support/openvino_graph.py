"""What OpenVINO's CPU plug-in made of a model: its executed layers, with primitive and precision."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from runner.support.tally import tally

# Neither computes: values that are given, and the ends of the graph.
_NOT_EXECUTED = ("Const", "Input", "Output")

# Layers by which a model is in one number format or another; the rest follows them.
_HEAVY = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "Subgraph")


class Node(NamedTuple):
    """One executed layer."""

    layer: str
    primitive: str
    precision: str


def nodes(compiled: Any) -> List[Node]:
    """The executed layers of a compiled model."""
    found = []
    for operation in compiled.get_runtime_model().get_ops():
        about = operation.get_rt_info()
        node = Node(*(_told(about, k) for k in ("layerType", "primitiveType", "runtimePrecision")))
        if node.layer not in _NOT_EXECUTED:
            found.append(node)
    return found


def by_primitive(found: Sequence[Node]) -> Dict[str, int]:
    """Layers by kind and primitive, such as `{"Convolution (brgconv_avx512_f32)": 35}`."""
    return tally(f"{node.layer} ({node.primitive})" for node in found)


def precision(found: Sequence[Node], hint: str) -> str:
    """The number format that most of the heavy layers run in; OpenVINO's hint where none is heavy.

    The hint alone does not tell: it reads `dynamic` or `undefined` where the model's own formats
    are kept, and holds for those layers only that have such a kernel.
    """
    counted = Counter(node.precision for node in found if node.layer in _HEAVY)
    return counted.most_common(1)[0][0] if counted else hint


def reduced(found: Sequence[Node]) -> Tuple[str, ...]:
    """Floating-point formats below float32 that layers run in; a quantised model's own are none."""
    return tuple(sorted({node.precision for node in found} & {"bf16", "f16"}))


def _told(about: Any, name: str) -> str:
    if name not in about:
        return "unknown"
    value = about[name]
    # Versions differ in whether a value comes wrapped.
    return str(value.value if hasattr(value, "value") else value)
