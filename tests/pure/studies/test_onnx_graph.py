"""Cutting ONNX models: what is cut out computes what the model computes there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from harness.errors import ModelError
from harness.studies.onnx_graph import read_graph

SHAPE = (1, 3, 6, 6)


def _save(path, nodes, weights, *, opset=17, outputs=("y",), inputs=("x",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 6, 6]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def residual(tmp_path):
    """x -> Conv stem -> (Conv left -> Relu) + stem -> GlobalAveragePool -> Flatten, with a branch."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "w1": rng.standard_normal((4, 4, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["stem"], "conv_stem", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["stem", "w1"], ["left"], "conv_left"),
        helper.make_node("Relu", ["left"], ["bent"], "relu"),
        helper.make_node("Add", ["bent", "stem"], ["sum"], "add"),
        helper.make_node("Neg", ["stem"], ["unused"], "nobody_reads_it"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["y"], "flat"),
    ]
    return read_graph(_save(tmp_path / "m.onnx", nodes, weights))


def _values(graph):
    fed = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    told, names, _ = graph.telling(graph.tensors, fed.shape)
    outputs = ReferenceEvaluator(told).run(None, {graph.source: fed})
    return {graph.source: fed, **{n: o[0] for n, o in zip(names, outputs, strict=True)}}


def test_tensors_are_those_between_input_and_output_in_order(residual):
    assert residual.tensors == ("x", "stem", "left", "bent", "sum", "pooled", "y")


def test_cuts_are_where_everything_passes_through_one_tensor(residual):
    assert residual.cuts == ("x", "stem", "sum", "pooled", "y")


def test_inner_values_are_told_whatever_their_shape(residual):
    values = _values(residual)
    assert values["sum"].shape == (1, 4, 6, 6)
    assert values["y"].shape == (1, 4)
    np.testing.assert_array_equal(values["sum"], values["bent"] + values["stem"])


@pytest.mark.parametrize(
    ("start", "end", "operators", "frozen"),
    [
        ("x", "y", ["Conv", "Conv", "Relu", "Add", "GlobalAveragePool", "Flatten"], ()),
        ("stem", "sum", ["Conv", "Relu", "Add"], ()),
        ("left", "sum", ["Relu", "Add"], ("stem",)),
        ("bent", "sum", ["Add"], ("stem",)),
        ("stem", "left", ["Conv"], ()),
    ],
)
def test_a_part_computes_what_the_model_computes_there(residual, start, end, operators, frozen):
    values = _values(residual)
    part = residual.part(start, end)
    assert [residual.nodes[index].op_type for index in part.nodes] == operators
    assert residual.frozen(part) == frozen
    made = residual.cut(part, values)
    assert [one.name for one in made.graph.input] == [start]
    (given,) = ReferenceEvaluator(made).run(None, {start: values[start]})
    np.testing.assert_array_equal(given, values[end])


def test_the_types_of_inner_values_are_told(residual):
    told, names, dtypes = residual.telling(["sum", "y"], SHAPE)
    assert (names, dtypes) == (("sum", "y"), {"sum": np.float32, "y": np.float32})
    shape = told.graph.output[0].type.tensor_type.shape
    assert [size.dim_value for size in shape.dim] == [1, 1, 4, 6, 6]


def test_a_part_holds_only_the_weights_that_it_reads(residual):
    made = residual.cut(residual.part("stem", "left"), _values(residual))
    assert [one.name for one in made.graph.initializer] == ["w1"]


def test_between_tensors_that_no_way_joins_there_is_no_part(residual):
    assert residual.part("sum", "left") is None
    assert residual.part("unused", "y") is None
    assert residual.part("stem", "stem") is None


def test_what_computes_weights_comes_along(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32([2]))),
        helper.make_node("Neg", ["two"], ["minus"]),
        helper.make_node("Mul", ["r", "minus"], ["y"]),
    ]
    graph = read_graph(_save(tmp_path / "m.onnx", nodes, {}))
    values = _values(graph)
    made = graph.cut(graph.part("r", "y"), values)
    assert [node.op_type for node in made.graph.node] == ["Constant", "Neg", "Mul"]
    (given,) = ReferenceEvaluator(made).run(None, {"r": values["r"]})
    np.testing.assert_array_equal(given, values["y"])


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_inner_values_are_told_in_old_and_new_operator_sets(tmp_path, opset):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Neg", ["r"], ["y"]),
    ]
    values = _values(read_graph(_save(tmp_path / "m.onnx", nodes, {}, opset=opset)))
    np.testing.assert_array_equal(values["y"], -values["r"])


def test_what_a_graph_inside_a_node_takes_from_outside_is_read_by_the_node(tmp_path):
    def branch(name, source):
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node("Neg", [source], [name])], name, [], [out])

    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Abs", ["x"], ["s"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node(
            "If", ["c"], ["y"], then_branch=branch("t", "r"), else_branch=branch("e", "s")
        ),
    ]
    graph = read_graph(_save(tmp_path / "m.onnx", nodes, {}))
    part = graph.part("r", "y")
    assert graph.frozen(part) == ("s",)


def test_a_description_names_few_operators_and_counts_many(residual):
    assert residual.describe(residual.part("stem", "left")) == 'Conv "conv_left"'
    assert residual.describe(residual.part("x", "y")).startswith("6 operators (Conv, Relu, Add")


def test_a_model_of_two_inputs_is_refused(tmp_path):
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    path = _save(tmp_path / "m.onnx", nodes, {}, inputs=("x", "z"))
    with pytest.raises(ModelError, match="takes 2 inputs"):
        read_graph(path)
