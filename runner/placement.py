"""Where ONNX Runtime ran each node of a graph, from its own profile of one run.

A session that is asked for a GPU gives every node that its provider does not take to the next one,
at last to the CPU, and says nothing; the profile names the provider of each node that ran.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Mapping, Sequence, Tuple

from runner.errors import RunnerError
from runner.support.tally import most

CPU = "CPUExecutionProvider"
_KERNEL = "_kernel_time"

# These are copies between the two memories, which stand on the GPU's side.
_COPIES = ("MemcpyToHost", "MemcpyFromHost")

# ONNX Runtime keeps the arithmetic of shapes on the CPU on purpose: it is a handful of numbers that
# the host needs to launch the next kernel. The same operators on more than that are computation.
_SHAPE_WORDS = """
    Shape Size Gather Slice Concat Squeeze Unsqueeze Cast Range Reshape Identity Constant
    ConstantOfShape Split Flatten Add Sub Mul Div Floor Ceil Min Max Mod Neg Equal Greater Less Not
    And Or Where ReduceProd ReduceMin ReduceMax ReduceSum Expand ScatterND NonZero Tile
"""
SHAPE_OPERATORS = frozenset(_SHAPE_WORDS.split())

# The scales of a resize are the only numbers of a shape that are not whole.
_SCALE_WORDS = """
    Cast Mul Div Floor Ceil Concat Slice Gather Squeeze Unsqueeze Reshape Identity Constant
"""
SCALE_OPERATORS = frozenset(_SCALE_WORDS.split())

# These look at how large their input is and not at what is in it.
_LOOKS = frozenset(["Shape", "Size"])
_WHOLE_NUMBERS, _SCALES = 32, 8
"""At most so many in a shape, and in the scales of a resize."""

_LISTED = 8
_NUMPY_NAMES = {"float": "float32", "double": "float64"}
_COMPILED = re.compile(r"^TRTKernel_.*")


@dataclass(frozen=True)
class Placement:
    """Nodes by provider; of those on the CPU, by operator: shape arithmetic, and computation.

    `operators` counts all of them, by operator and provider: `Conv (CPUExecutionProvider)`.
    `dtypes` are those of what the nodes that compute give, as NumPy calls them.
    """

    nodes: Mapping[str, int]
    shapes_on_cpu: Mapping[str, int]
    computed_on_cpu: Mapping[str, int]
    copies: int = 0
    operators: Mapping[str, int] = field(default_factory=dict)
    dtypes: Tuple[str, ...] = ()


def read_profile(path: str) -> Placement:
    """The placement in a profile file, which is removed.

    Raises:
        RunnerError: kind `backend`, if it can't be read or names no node.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            events = json.load(file)
        os.unlink(path)
    except (OSError, ValueError) as error:
        message = f"ONNX Runtime's profile {path} can't be read: {error}"
        raise RunnerError("backend", message) from error
    found = placement(events)
    if not found.nodes:
        raise RunnerError("backend", f"ONNX Runtime's profile {path} names no node that ran")
    return found


def placement(events: Iterable[Mapping[str, Any]]) -> Placement:
    """The placement that a profile's events tell; each node counts once, however often it ran."""
    nodes: Dict[str, int] = {}
    shapes: Dict[str, int] = {}
    computed: Dict[str, int] = {}
    operators: Dict[str, int] = {}
    dtypes: Dict[str, int] = {}
    copies = 0
    seen = set()
    for event in events:
        name, details = str(event.get("name", "")), event.get("args", {})
        provider = details.get("provider")
        node = (name, details.get("node_index"))
        if event.get("cat") != "Node" or not name.endswith(_KERNEL) or not provider or node in seen:
            continue
        seen.add(node)
        nodes[provider] = nodes.get(provider, 0) + 1
        operator = str(details.get("op_name", "?"))
        kind = f"{_unnumbered(operator)} ({provider})"
        operators[kind] = operators.get(kind, 0) + 1
        shape_arithmetic = _is_shape_arithmetic(operator, details)
        if operator in _COPIES:
            copies += 1
        elif not shape_arithmetic:
            for dtype in _given(details):
                dtypes[dtype] = dtypes.get(dtype, 0) + 1
        if provider == CPU:
            table = shapes if shape_arithmetic else computed
            table[operator] = table.get(operator, 0) + 1
    return Placement(nodes, shapes, computed, copies, operators, tuple(most(dtypes)))


def told(found: Placement) -> Dict[str, Any]:
    """What goes into `ran` of where nodes ran: by provider, by kind, and in which dtypes."""
    about: Dict[str, Any] = {"nodes": dict(found.nodes), "operators": most(found.operators)}
    if found.dtypes:
        about["computes_in"] = list(found.dtypes)
    return about


def require(found: Placement, provider: str, beside: Sequence[str] = ()) -> Dict[str, Any]:
    """What goes into `ran` once every node that computes ran on `provider`, or those `beside`.

    `beside` are providers of the same device, which take what the first one leaves.

    Raises:
        RunnerError: kind `unsupported`, naming the operators that ran on the CPU.
    """
    # The copies are CUDA's, which stands beside TensorRT.
    copies = found.copies if not beside else 0
    there = found.nodes.get(provider, 0) - copies
    if found.computed_on_cpu or there < 1:
        listed = most(found.computed_on_cpu, _LISTED)
        names = ", ".join(f"{name} {count}" for name, count in listed.items())
        on_cpu = sum(found.computed_on_cpu.values())
        what = f"{on_cpu} nodes that compute ran on the CPU ({names})" if on_cpu else "nothing ran"
        raise RunnerError(
            "unsupported",
            f"onnxruntime was asked for {provider} and ran {max(there, 0)} nodes there; {what}: "
            "its times would not be the GPU's. Use a newer onnxruntime-gpu, export the model with "
            "operators that it runs on the GPU, or ask for the device cpu",
        )
    proof = dict(told(found), shape_nodes_on_cpu=dict(found.shapes_on_cpu))
    if beside:
        proof["nodes_beside"] = {one: found.nodes[one] for one in beside if one in found.nodes}
    return proof


def _given(details: Mapping[str, Any]) -> Iterable[str]:
    """The dtypes of a node's outputs, by NumPy's names where ONNX Runtime's differ."""
    outputs = details.get("output_type_shape")
    kinds = [kind for one in outputs for kind in one] if isinstance(outputs, list) else []
    return (_NUMPY_NAMES.get(kind, kind) for kind in kinds)


def _unnumbered(operator: str) -> str:
    """An operator's kind; a part of a graph that a provider compiled has a name of its own."""
    return _COMPILED.sub("TRTKernel", operator)


def _is_shape_arithmetic(operator: str, details: Mapping[str, Any]) -> bool:
    """Whether a node computes shapes: by its operator, and by what it took and gave.

    A node of which the profile does not say both is taken for one that computes.
    """
    inputs, outputs = details.get("input_type_shape"), details.get("output_type_shape")
    if operator not in SHAPE_OPERATORS or not isinstance(inputs, list):
        return False
    if not isinstance(outputs, list) or not outputs:
        return False
    looked_at = outputs if operator in _LOOKS else [*inputs, *outputs]
    return all(
        _is_small(dtype, dimensions, scales=operator in SCALE_OPERATORS)
        for tensor in looked_at
        for dtype, dimensions in tensor.items()
    )


def _is_small(dtype: str, dimensions: Iterable[Any], *, scales: bool) -> bool:
    """Whether a tensor holds no more numbers than a shape, or than scales where those may be."""
    count = 1
    for size in dimensions:
        count *= int(size)
    if dtype == "bool" or "int" in dtype:
        return count <= _WHOLE_NUMBERS
    return scales and count <= _SCALES
