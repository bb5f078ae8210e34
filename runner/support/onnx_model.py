"""What is asked of an ONNX model before anything is done with it: inputs, opset, half precision.

The package onnx is imported where it is needed, so that this module costs nothing.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Set, Tuple

from runner.errors import RunnerError

OLDEST_OPSET = 7
"""Below it operators mean other things (broadcasting by `axis`, training flags)."""

STANDARD = ("", "ai.onnx")
"""The names of ONNX's own domain."""

_NARROW = ("FLOAT16", "BFLOAT16", "FLOAT8", "FLOAT4")
# These hand values on, or tell their shape: what they do is no arithmetic.
_HOLDS = frozenset(("Constant", "ConstantOfShape", "Identity", "Shape", "Size"))


def inputs(model: Any) -> List[Any]:
    """The inputs that are fed: older files list their weights among the inputs too."""
    held = {tensor.name for tensor in model.graph.initializer}
    held.update(tensor.values.name for tensor in model.graph.sparse_initializer)
    return [value for value in model.graph.input if value.name not in held]


def opset(model: Any) -> int:
    """The opset of ONNX's own operators; 0 where the model does not say."""
    return max((o.version for o in model.opset_import if o.domain in STANDARD), default=0)


def supported_opset(model: Any, name: str) -> int:
    """The opset, for the converter `name`.

    Raises:
        RunnerError: kind `model` where it is not said; `unsupported` where it is too old.
    """
    found = opset(model)
    if found == 0:
        message = f"{name}: the model does not say which opset of ONNX it uses"
        raise RunnerError("model", message)
    if found < OLDEST_OPSET:
        raise RunnerError(
            "unsupported",
            f"{name}: the model is of opset {found} and {OLDEST_OPSET} is the oldest that is "
            "supported; convert it with onnx.version_converter or export it anew",
        )
    return found


def narrow_floats(model: Any) -> Tuple[str, ...]:
    """The floating-point types below float32 that a model computes in, by NumPy's names.

    Weights and inputs that are held so and cast before anything is computed do not count.
    """
    if model.functions:
        from runner.support.onnx_patterns import inlined

        model = inlined(model)
    return tuple(sorted(_computed(_inferred(model).graph, {})))


def require_float32(name: str, model: Any) -> None:
    """Refuse, for the precision f32, a model that computes in less.

    Raises:
        RunnerError: kind `unsupported`.
    """
    refuse_narrow(name, narrow_floats(model))


def refuse_narrow(name: str, narrow: Sequence[str]) -> None:
    """Refuse, for the precision f32, what computes in these types; nothing where there are none.

    Raises:
        RunnerError: kind `unsupported`.
    """
    if narrow:
        raise RunnerError(
            "unsupported",
            f"{name}: the model computes in {', '.join(narrow)} and the precision f32 is whole "
            "float32: ask for precision default, or export the model in float32",
        )


def _inferred(model: Any) -> Any:
    """With the types of what flows between its nodes, as far as ONNX can tell them."""
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(model)
    except Exception as error:
        print(f"runner: ONNX can't infer the model's types: {error!r}", flush=True)
        return model


def _computed(graph: Any, outer: Dict[str, int]) -> Set[str]:
    kinds = {**outer, **{tensor.name: tensor.data_type for tensor in graph.initializer}}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kinds[value.name] = value.type.tensor_type.elem_type
    found: Set[str] = set()
    for node in graph.node:
        read = () if node.op_type == "Cast" else node.input
        told = [kinds.get(name, 0) for name in (*read, *node.output)]
        if node.op_type == "Cast":
            told.append(next((a.i for a in node.attribute if a.name == "to"), 0))
        if node.op_type not in _HOLDS:
            found.update(_narrow(told))
        for inner in _subgraphs(node):
            found |= _computed(inner, kinds)
    return found


def _narrow(kinds: Sequence[int]) -> Set[str]:
    from onnx import TensorProto

    names = {TensorProto.DataType.Name(kind) for kind in kinds}
    return {name.lower() for name in names if name.startswith(_NARROW)}


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
