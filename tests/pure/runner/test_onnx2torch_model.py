"""ONNX models made ready for onnx2torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from runner.support.onnx2torch_model import prepared


def model() -> onnx.ModelProto:
    """A batch that is open, a Pad whose pads and a Reshape whose shape are computed from shapes."""
    numbers = {"two": np.array(2), "zero": np.array([0]), "zeros": np.array([0, 0, 0, 0, 0, 0])}
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="a;b,c"),
        helper.make_node("Gather", ["s", "two"], ["h"]),
        helper.make_node("Unsqueeze", ["h", "zero"], ["h1"]),
        helper.make_node("Concat", ["zeros", "h1", "zero"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["y"]),
        helper.make_node("Shape", ["y"], ["t"]),
        helper.make_node("Gather", ["t", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "minus"], ["to"], axis=0),
        helper.make_node("Reshape", ["y", "to"], ["z"]),
    ]
    numbers["minus"] = np.array([-1])
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 3, 4])],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", None])],
            [numpy_helper.from_array(value.astype(np.int64), n) for n, value in numbers.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def test_what_follows_from_the_shape_is_computed_and_answers_stay() -> None:
    before = model()
    after = prepared(before, (5, 2, 3, 4))
    assert [node.op_type for node in after.graph.node] == ["Pad", "Reshape"]
    fed = np.random.default_rng(0).random((5, 2, 3, 4), dtype=np.float32)
    [expected] = ReferenceEvaluator(before).run(None, {"x": fed})
    [got] = ReferenceEvaluator(after).run(None, {"x": fed})
    np.testing.assert_array_equal(got, expected)
    assert len(before.graph.node) == 9, "the caller's model is its own"


def test_names_hold_letters_and_numbers_alone() -> None:
    after = prepared(model(), (1, 2, 3, 4))
    assert [node.name for node in after.graph.node] == ["n0_Pad", "n1_Reshape"]
