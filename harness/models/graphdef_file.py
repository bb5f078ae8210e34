"""Reading frozen TensorFlow graphs (`.pb`): inputs, outputs, and whether the weights are in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from harness.canonical import sha256_file
from harness.errors import ModelError
from harness.models.model_file import ModelFile, Shape, TensorSpec, listed, not_whole
from harness.models.tensorflow_protos import (
    BYTES,
    VARIABLE_OPS,
    dtype_of,
    message_class,
    shape_of,
)

_KIND = "a frozen graph (.pb)"
_MOST_BYTES = 1 << 31
_INPUTS = ("Placeholder", "PlaceholderV2")
_NO_OUTPUTS = {
    *("Const", "NoOp", "Assert", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault"),
    *("CheckNumerics", "Print", "PrintV2", "SaveV2", "RestoreV2", "MergeV2Checkpoints"),
}
_KEEP_SHAPE = {
    "Identity",
    "Softmax",
    "LogSoftmax",
    "Sigmoid",
    "BiasAdd",
    "Add",
    "AddV2",
    "StopGradient",
}
_MOST_STEPS = 32


def read_graphdef(path: Path) -> ModelFile:
    """Read a frozen graph.

    Inputs are its placeholders. Outputs are the nodes that nothing reads, without constants,
    checks and no-ops; their shapes are those that the exporter noted, or what a dense layer at
    the end gives, else None.

    Raises:
        ModelError: not a whole graph, one whose weights lie elsewhere, a SavedModel's own file.
    """
    graph = _parse(path)
    nodes = {node.name: node for node in graph.node}
    if len(nodes) != len(graph.node):
        raise not_whole(path, _KIND, "two of its nodes have the same name")
    variables = [node.name for node in graph.node if _is_variable(node)]
    if variables:
        raise ModelError(
            f"{path} is a graph without its weights: {len(variables)} variables "
            f"({listed(variables)}) lie in a checkpoint beside it.",
            "Freeze it (tf.compat.v1.graph_util.convert_variables_to_constants), or export a "
            "SavedModel.",
        )
    try:
        read = _check_links(path, graph, nodes)
        _check_constants(path, graph)
        inputs = tuple(_input(node) for node in graph.node if node.op in _INPUTS)
        outputs = tuple(
            _output(node, nodes)
            for node in graph.node
            if node.name not in read and node.op not in _NO_OUTPUTS
        )
    except ValueError as error:
        raise not_whole(path, _KIND, str(error)) from error
    if not outputs:
        raise not_whole(path, _KIND, "nothing in it is an output")
    return ModelFile(
        path=path,
        format="graphdef",
        sha256=sha256_file(path),
        inputs=inputs,
        outputs=outputs,
        opset=None,
        ir_version=None,
        external_files=(),
        size_bytes=path.stat().st_size,
    )


def _parse(path: Path) -> Any:
    if path.stat().st_size >= _MOST_BYTES:
        raise not_whole(path, _KIND, "it is larger than 2 GiB, which no protobuf file is")
    raw = path.read_bytes()
    graph = _parsed("Graph", raw)
    if graph is not None and graph.node and all(node.op and node.name for node in graph.node):
        return graph
    saved = _parsed("SavedModel", raw)
    if saved is not None and any(meta.meta_info_def.tags for meta in saved.meta_graphs):
        raise ModelError(
            f"{path} is a part of a SavedModel.",
            f"Give its folder, with the name saved_model.pb in it: {path.parent}.",
        )
    if _is_onnx(raw):
        raise not_whole(path, _KIND, "it is an ONNX model", "Rename it to end with .onnx.")
    raise not_whole(path, _KIND, "it does not parse" if graph is None else "it holds no nodes")


def _is_variable(node: Any) -> bool:
    """Whether a node is a variable, or the place where a function is given one."""
    return node.op in VARIABLE_OPS or (node.op in _INPUTS and _dtype(node) == "resource")


def _parsed(name: str, raw: bytes) -> Any:
    try:
        return message_class(name).FromString(raw)
    except DecodeError:
        return None


def _is_onnx(raw: bytes) -> bool:
    try:
        model = onnx.ModelProto.FromString(raw)
    except DecodeError:
        return False
    return bool(model.ir_version and model.graph.node)


def _check_links(path: Path, graph: Any, nodes: Mapping[str, Any]) -> set[str]:
    """Check that what nodes read is there; the names of nodes that something reads or waits for."""
    read = set()
    for node in graph.node:
        for name in node.input:
            source = _source(name)
            if source not in nodes:
                reason = f"its node {node.name!r} reads {source!r}, which is not there"
                raise not_whole(path, _KIND, reason)
            read.add(source)
    return read


def _check_constants(path: Path, graph: Any) -> None:
    for node in graph.node:
        if node.op != "Const":
            continue
        tensor = node.attr["value"].tensor if "value" in node.attr else None
        if tensor is None:
            raise not_whole(path, _KIND, f"its constant {node.name!r} has no value")
        width = BYTES.get(dtype_of(tensor.dtype))
        shape = shape_of(tensor.tensor_shape)
        if not tensor.tensor_content or width is None or shape is None or None in shape:
            continue
        needed = math.prod(size for size in shape if size is not None) * width
        if len(tensor.tensor_content) != needed:
            have = len(tensor.tensor_content)
            reason = f"its weights {node.name!r} have {have} of {needed} bytes"
            raise not_whole(path, _KIND, reason)


def _source(name: str) -> str:
    return name.removeprefix("^").split(":", 1)[0]


def _input(node: Any) -> TensorSpec:
    shape = shape_of(node.attr["shape"].shape) if "shape" in node.attr else None
    # Before TensorFlow 1.0 a shape of no dimensions meant that nothing is known of it.
    return TensorSpec(node.name, _dtype(node), shape or None)


def _output(node: Any, nodes: Mapping[str, Any]) -> TensorSpec:
    noted = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else ()
    shape = shape_of(noted[0]) if noted else _shape_by_dense(node, nodes)
    return TensorSpec(node.name, _dtype(node), shape)


def _dtype(node: Any) -> str:
    for name in ("dtype", "T", "DstT", "out_type", "output_type"):
        if name in node.attr and node.attr[name].type:
            return dtype_of(node.attr[name].type)
    return "float32"


def _shape_by_dense(node: Any, nodes: Mapping[str, Any]) -> Shape | None:
    """[?, classes] where the way back from an output ends in a matrix product with weights."""
    for _ in range(_MOST_STEPS):
        if node.op == "MatMul" and len(node.input) >= 2:
            weights = _constant_shape(nodes[_source(node.input[1])], nodes)
            if weights is None or len(weights) != 2:
                return None
            flipped = "transpose_b" in node.attr and bool(node.attr["transpose_b"].b)
            return (None, weights[0 if flipped else 1])
        if node.op not in _KEEP_SHAPE or not node.input:
            return None
        node = nodes[_source(node.input[0])]
    return None


def _constant_shape(node: Any, nodes: Mapping[str, Any]) -> Shape | None:
    for _ in range(_MOST_STEPS):
        if node.op == "Const":
            return shape_of(node.attr["value"].tensor.tensor_shape)
        if node.op not in {"Identity", "ReadVariableOp", "Enter"} or not node.input:
            return None
        node = nodes[_source(node.input[0])]
    return None
