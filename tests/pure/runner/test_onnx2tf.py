"""What surrounds onnx2tf: the layout of an ONNX input, the shape written in, and its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runner.errors import RunnerError
from runner.support import onnx2tf_model, onnx2tf_source, onnx2tf_tool

FIRST = [helper.make_node("Conv", ["x", "w"], ["y"])]
SCALED = [
    helper.make_node("Sub", ["x", "m"], ["c"]),
    helper.make_node("Clip", ["c"], ["d"]),
    helper.make_node("GlobalAveragePool", ["d"], ["y"]),
]
SHUFFLED = [
    helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1),
    helper.make_node("Concat", ["c", "b", "a"], ["d"], axis=1),
    helper.make_node("Conv", ["d", "w"], ["y"]),
]
LAST = [
    helper.make_node("Mul", ["x", "m"], ["c"]),
    helper.make_node("Transpose", ["c"], ["t"], perm=[0, 3, 1, 2]),
    helper.make_node("Conv", ["t", "w"], ["y"]),
]
TOKENS = [helper.make_node("MatMul", ["x", "w"], ["y"])]
AS_WEIGHT = [helper.make_node("Conv", ["w", "x"], ["y"])]


def model(nodes: list[Any], shape: tuple[Any, ...] = ("N", 3, 8, 8)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [2, 3, 1, 1], [1.0] * 6),
            helper.make_tensor("m", TensorProto.FLOAT, [], [1.0]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize(
    ("nodes", "shape", "first"),
    [
        (FIRST, ("N", 3, 8, 8), True),
        (FIRST, ("N", 3, 8), True),
        (SCALED, ("N", 3, 8, 8), True),
        (SHUFFLED, ("N", 3, 8, 8), True),
        (LAST, ("N", 8, 8, 3), False),
        (TOKENS, ("N", 4, 3), False),
        (AS_WEIGHT, ("N", 3, 1, 1), False),
        (SCALED, ("N", 3), False),
    ],
)
def test_channels_are_first_where_an_operator_says_so(
    nodes: list[Any], shape: tuple[Any, ...], first: bool
) -> None:
    assert onnx2tf_source.channels_first(model(nodes, shape), "test") is first


def test_a_fixed_shape_is_written_to_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx2tf_source.write(model(SCALED), (4, 3, 8, 8), str(path), "test")
    graph = onnx.load(path).graph
    sizes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input]
    assert sizes == [[4, 3, 8, 8]]
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_value == 4
    between = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info
    }
    assert between["c"] == [4, 3, 8, 8]


def test_an_open_batch_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx2tf_source.write(model(FIRST), (None, 3, 8, 8), str(path), "test")
    dims = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["N", 3, 8, 8]


def test_an_input_is_named_as_it_is_and_as_onnx2tf_cleans_it() -> None:
    source = model(FIRST)
    for name, cleaned in (("x", "x"), ("a:0", "a__0"), ("/in:0", "wa/in__0")):
        source.graph.input[0].name = name
        assert onnx2tf_source.input_names(source, "test") == [name, cleaned]


def test_an_outputs_layout_is_told_by_its_values() -> None:
    square = np.arange(27, dtype=np.float32).reshape(1, 3, 3, 3)
    layout = onnx2tf_model.output_layout
    assert layout(square, square, "it") is None
    assert layout(square, square.transpose(0, 2, 3, 1), "it") == (0, 3, 1, 2)
    rows = square.reshape(1, 3, 9)
    assert layout(rows, rows.transpose(0, 2, 1), "it") == (0, 2, 1)
    scores = square.reshape(3, 9)
    assert layout(scores, scores, "it") is None


def test_an_output_of_another_shape_is_a_failed_conversion() -> None:
    with pytest.raises(
        RunnerError, match=r"it has the shape \[2, 5\] and the source's is \[5, 2\]"
    ):
        onnx2tf_model.output_layout(np.zeros((5, 2)), np.zeros((2, 5)), "it")


def test_a_failure_is_told_in_onnx2tfs_own_words() -> None:
    absent = ModuleNotFoundError("No module named 'onnx2tf.ops.CastLike'")
    told = onnx2tf_tool.refusal("c", absent, "")
    assert (told.kind, told.message) == (
        "unsupported",
        "c: onnx2tf has no operator CastLike; use another converter",
    )
    ended = onnx2tf_tool.refusal("c", SystemExit(1), "noise\nERROR: mode is cubic\nERROR: \n")
    assert (ended.kind, ended.message) == ("conversion", "c: onnx2tf gave up: mode is cubic")
    broken = ValueError("Depth of input")
    broken.onnx_op_name = "conv_7"  # type: ignore[attr-defined]
    told = onnx2tf_tool.refusal("c", broken, "")
    assert told.kind == "conversion"
    assert told.message.endswith("at the node 'conv_7': ValueError: Depth of input")
