"""Models that a compiler breaks by something that is known to be wrong, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES, CLASSES = 8, 4


def write_not_a_number(folder: Path, rows: int = 24) -> tuple[Path, Path]:
    """A model that asks whether a root is a number, and rows of which half have none.

    Where code may take it for granted that all numbers are finite (`fast-math`), the question is
    answered no, and labels flip. Seven operators, of which one is to blame: `IsNaN`.
    """
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((FEATURES, FEATURES)).astype(np.float32),
        "w2": rng.standard_normal((FEATURES, CLASSES)).astype(np.float32),
        "instead": np.float32([3.0]),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["mixed"], "mix"),
        helper.make_node("Sqrt", ["mixed"], ["root"], "root"),
        helper.make_node("IsNaN", ["root"], ["lacking"], "is_it_a_number"),
        helper.make_node("Relu", ["mixed"], ["positive"], "positive"),
        helper.make_node("Where", ["lacking", "instead", "positive"], ["mended"], "mend"),
        helper.make_node("Tanh", ["mended"], ["bounded"], "bound"),
        helper.make_node("MatMul", ["bounded", "w2"], ["scores"], "classify"),
    ]
    return _save(folder, "not-a-number", nodes, weights, [FEATURES], [CLASSES], rng, rows)


def write_folded_norm(folder: Path, rows: int = 6) -> tuple[Path, Path]:
    """A convolution with a batch norm that rounds otherwise when it is folded into the weights."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((5, 3, 3, 3)).astype(np.float32),
        "scale": rng.standard_normal(5).astype(np.float32),
        "shift": rng.standard_normal(5).astype(np.float32),
        "mean": rng.standard_normal(5).astype(np.float32),
        "variance": rng.random(5).astype(np.float32) + np.float32(0.01),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["seen"], "see"),
        helper.make_node(
            "BatchNormalization", ["seen", "scale", "shift", "mean", "variance"], ["even"], "norm"
        ),
        helper.make_node("Relu", ["even"], ["bent"], "bend"),
        helper.make_node("GlobalAveragePool", ["bent"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["scores"], "flat"),
    ]
    return _save(folder, "folded-norm", nodes, weights, [3, 6, 6], [5], rng, rows)


def _save(
    folder: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    taken: list[int],
    given: list[int],
    rng: np.random.Generator,
    rows: int,
) -> tuple[Path, Path]:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *taken])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", *given])],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path, inputs = folder / f"{name}.onnx", folder / f"{name}.npy"
    onnx.save(model, path)
    np.save(inputs, rng.standard_normal((rows, *taken)).astype(np.float32))
    return path, inputs
