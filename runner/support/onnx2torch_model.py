"""An ONNX model as onnx2torch and `torch.export` can take it: fixed shapes, plain names.

A model with an open batch computes shapes as it runs, and `torch.export` refuses what depends on
data. With the shape of the input known, all of that is constant. TensorFlow Lite's names hold signs
that `torch.export` writes and cannot read again.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import numpy_helper

from runner.support import onnx_folding, onnx_model

# Shapes are short; what is longer is a weight, and stays where it is.
_LARGEST = 4096


def prepared(model: Any, shape: Tuple[int, ...]) -> Any:
    """A copy with the input's shape fixed, shape arithmetic done, and node names of plain letters.

    Args:
        model: `onnx.ModelProto`.
        shape: of its one input, with the batch.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for dim, size in zip(onnx_model.inputs(copy)[0].type.tensor_type.shape.dim, shape):
        dim.dim_value = size
    # What was said of shapes before holds symbols that are numbers now.
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    # What a Pad leaves is known only when its own arithmetic is done.
    while _do_shape_arithmetic(copy):
        pass
    for number, node in enumerate(copy.graph.node):
        node.name = f"n{number}_" + re.sub(r"\W", "_", node.op_type)
    return copy


def _do_shape_arithmetic(model: Any) -> bool:
    """Replace `Shape` of what has a known shape, and what follows from such, by initializers.

    Whether there was any.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {value.name: _shape(value) for value in inferred.graph.value_info}
    shapes.update({value.name: _shape(value) for value in model.graph.input})
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    small = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if int(np.prod(tensor.dims)) <= _LARGEST
    }
    computed: Dict[str, np.ndarray] = {}
    outputs = {value.name for value in model.graph.output}
    kept = []
    for node in model.graph.node:
        found = (
            None if outputs & set(node.output) else _value(node, shapes, small, computed, opsets)
        )
        if found is None:
            kept.append(node)
            continue
        small.update(found)
        computed.update(found)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, order="C"), name)
        for name, value in computed.items()
        if name in used
    )
    return bool(computed)


def _value(
    node: Any,
    shapes: Dict[str, Optional[List[int]]],
    small: Dict[str, np.ndarray],
    computed: Dict[str, np.ndarray],
    opsets: Dict[str, int],
) -> Optional[Dict[str, np.ndarray]]:
    """The outputs of a node that is constant by now; None for one that is not."""
    if node.op_type == "Shape" and shapes.get(node.input[0]) and not node.attribute:
        return {node.output[0]: np.array(shapes[node.input[0]], np.int64)}
    if node.op_type == "Constant":
        value = onnx_folding.evaluate(node, [], opsets)[0]
        return {node.output[0]: value} if value.size <= _LARGEST else None
    given: Sequence[str] = [name for name in node.input if name]
    depends = any(name in computed for name in given)
    if not depends or node.op_type in onnx_folding.NEVER or any(n not in small for n in given):
        return None
    values = onnx_folding.evaluate(node, [small.get(name) for name in node.input], opsets)
    if any(value.size > _LARGEST for value in values):
        return None
    return {name: value for name, value in zip(node.output, values) if name}


def _shape(value: Any) -> Optional[List[int]]:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or any(not dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return [dim.dim_value for dim in kind.shape.dim]
