"""What OpenVINO's CPU plug-in made of a model: its executed layers, with primitive and precision."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from runner.support.tally import tally

# Neither computes: values that are given, and the ends of the graph.
_NOT_EXECUTED = ("Const", "Input", "Output")

# Layers by which a model is in one number format or another; the rest follows them.
_HEAVY = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "Subgraph")

_NAMES = {"bf16": "bfloat16", "boolean": "bool"}
_LETTERS = {"f": "float", "i": "int", "u": "uint"}
_NUMBERED = re.compile(r"([fiu])(\d+)")


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
        given = [told(about, k) for k in ("layerType", "primitiveType", "runtimePrecision")]
        node = Node(given[0], given[1], _computed(given[1], given[2]))
        if node.layer not in _NOT_EXECUTED:
            found.append(node)
    return found


def by_primitive(found: Sequence[Node]) -> Dict[str, int]:
    """Layers by kind and primitive, such as `{"Convolution (brgconv_avx512_f32)": 35}`."""
    return tally(f"{node.layer} ({node.primitive})" for node in found)


def computes_in(found: Sequence[Node]) -> List[str]:
    """The dtypes that the heavy layers run in, the most frequent first; of all, where none is heavy.

    OpenVINO's own hint does not tell: it reads `dynamic` or `undefined` where the model's formats
    are kept, and holds for those layers only that have such a kernel.
    """
    heavy = [node for node in found if node.layer in _HEAVY]
    return list(tally(numpy_name(node.precision) for node in heavy or found))


def numpy_name(kind: str) -> str:
    """The name that NumPy has, or would have, for a number format of OpenVINO: `f32` is `float32`."""
    if kind in _NAMES:
        return _NAMES[kind]
    parts = _NUMBERED.fullmatch(kind)
    return f"{_LETTERS[parts[1]]}{parts[2]}" if parts else kind


def reduced(found: Sequence[Node]) -> Tuple[str, ...]:
    """Floating-point formats below float32 that layers run in; a quantised model's own are none."""
    return tuple(sorted({node.precision for node in found} & {"bf16", "f16"}))


def _computed(primitive: str, precision: str) -> str:
    """What a layer computes in: of one in float32 whose weights lie as float16, OpenVINO tells f16."""
    return "f32" if precision == "f16" and primitive.endswith("_f32") else precision


def told(about: Any, name: str) -> str:
    """What the runtime graph says of a layer under a name; `unknown` where it does not."""
    if name not in about:
        return "unknown"
    value = about[name]
    # Versions differ in whether a value comes wrapped.
    return str(value.value if hasattr(value, "value") else value)
