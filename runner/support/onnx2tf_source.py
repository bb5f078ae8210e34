"""An ONNX model made ready for onnx2tf: which layout its input has, and its shape written in.

The package onnx is imported where it is needed, so that this module costs nothing.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

from runner.support import conversion

OpenShape = Tuple[Optional[int], ...]

_CONVOLVES = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv")
_SLIDES = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
# Operators over channels-first images, as ONNX defines them.
_FIRST = frozenset(
    (*_CONVOLVES, *_SLIDES, "BatchNormalization", "InstanceNormalization", "LRN", "DepthToSpace")
)
# Those whose output lies as their first input does.
_KEEPS = frozenset(
    ("Abs", "Add", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout")
    + ("Identity", "LeakyRelu", "Max", "Min", "Mul", "Neg", "Pad", "Pow", "QuantizeLinear", "Relu")
    + ("Sigmoid", "Sqrt", "Sub", "Split", "Concat", "Slice", "Resize", "Upsample", "PRelu", "Tanh")
    + ("HardSwish", "HardSigmoid", "Elu", "Selu", "Celu", "Mish", "Softplus", "Gelu")
)


def channels_first(model: Any, name: str) -> bool:
    """Whether a model's input is of images (or rows, or volumes) with the channels first.

    It is where an operator is reached for which ONNX says so. One that Keras or TensorFlow wrote is
    transposed before that; and where there is none of the kind, nothing is known of any channels.

    Args:
        model: `onnx.ModelProto` of one input.
        name: the converter's, for messages.
    """
    fed = conversion.graph_input(model, name)
    if len(fed.type.tensor_type.shape.dim) not in (3, 4, 5):
        return False
    readers: Dict[str, List[Any]] = {}
    for node in model.graph.node:
        for each in node.input:
            readers.setdefault(each, []).append(node)
    waiting, seen = [fed.name], {fed.name}
    while waiting:
        tensor = waiting.pop()
        for node in readers.get(tensor, ()):
            if node.op_type in _FIRST and node.input[0] == tensor:
                return True
            if node.op_type in _KEEPS:
                new = [each for each in node.output if each and each not in seen]
                seen.update(new)
                waiting += new
    return False


def write(model: Any, shape: OpenShape, path: str, name: str) -> None:
    """Write the model with the shape of its input, None for an open batch.

    onnx2tf can fix a shape by itself, and then does so for the input alone (the rest keeps its open
    batch, and layers come out wrong), or not at all where it does not simplify the model.

    Args:
        model: `onnx.ModelProto` of one input; it is changed.
        shape: of the whole input.
        path: the file to write, with the weights in it.
        name: the converter's, for messages.
    """
    import onnx

    fed = conversion.graph_input(model, name)
    known: Dict[str, int] = {}
    for dim, size in zip(fed.type.tensor_type.shape.dim, shape):
        if size is not None:
            if dim.dim_param:
                known[dim.dim_param] = size
            dim.dim_value = size
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            if dim.dim_param in known:
                dim.dim_value = known[dim.dim_param]
    del model.graph.value_info[:]
    onnx.save(onnx.shape_inference.infer_shapes(model), os.path.abspath(path))


def input_names(model: Any, name: str) -> List[str]:
    """The input's name, and what onnx2tf makes of it before it compares."""
    given = conversion.graph_input(model, name).name
    cleaned = given.replace(":", "__")
    return [given, f"wa{cleaned}" if cleaned.startswith("/") else cleaned]


def answers(model: Any, feeds: Sequence[Any], threads: int, name: str) -> List[List[Any]]:
    """What ONNX Runtime answers to each input, without optimising the model; onnx2tf brings it.

    Args:
        model: `onnx.ModelProto` of one input.
        feeds: arrays for it.
        threads: of ONNX Runtime.
        name: the converter's, for messages.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    fed = conversion.graph_input(model, name).name
    return [list(session.run(None, {fed: each})) for each in feeds]
