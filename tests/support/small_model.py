"""A small ONNX model with any number of classes and a second output, made without a framework."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES = 24


def write_model(path: Path, classes: int = 37, *, seed: int = 0, batch: int | str = "N") -> Path:
    """Write `x` float32 [batch, 24] -> `scores` [batch, classes] and `embedding` [batch, 8, 3]."""
    rng = np.random.default_rng(seed)
    arrays = {
        "w": rng.standard_normal((FEATURES, classes)).astype(np.float32),
        "b": rng.standard_normal(classes).astype(np.float32),
        "shape": np.array([-1, 8, 3], np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "b"], ["scores"]),
            helper.make_node("Tanh", ["x"], ["t"]),
            helper.make_node("Reshape", ["t", "shape"], ["embedding"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, FEATURES])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, 8, 3]),
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_inputs(path: Path, count: int = 200, *, seed: int = 1) -> Path:
    """Write float32 [count, 24]."""
    rng = np.random.default_rng(seed)
    np.save(path, rng.standard_normal((count, FEATURES)).astype(np.float32))
    return path
