"""The guilty part of a model, with faults planted at known operators."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.studies.bisect_operators import bound_of, difference, is_rounding, smallest_part
from harness.studies.onnx_graph import read_graph

BLOCKS = 9


@pytest.fixture
def chain(tmp_path):
    """Nine residual blocks: t0 -> (Conv, Relu, Conv) + t0 -> t1 ... -> t9 -> Flatten."""
    weight = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    nodes = []
    for k in range(BLOCKS):
        nodes += [
            helper.make_node("Conv", [f"t{k}", "w"], [f"a{k}"], f"conv_a{k}"),
            helper.make_node("Relu", [f"a{k}"], [f"r{k}"], f"relu{k}"),
            helper.make_node("Conv", [f"r{k}", "w"], [f"b{k}"], f"conv_b{k}"),
            helper.make_node("Add", [f"b{k}", f"t{k}"], [f"t{k + 1}"], f"add{k}"),
        ]
    nodes.append(helper.make_node("Flatten", [f"t{BLOCKS}"], ["y"], "flat"))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, 3, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return read_graph(path)


def _names(graph, part):
    return {graph.nodes[index].name for index in part.nodes}


@pytest.mark.parametrize("guilty", ["conv_a0", "conv_b4", "relu6", "add8", "flat"])
def test_one_guilty_operator_is_found_wherever_it_stands(chain, guilty):
    asked = []

    def test(part):
        asked.append(part)
        return guilty in _names(chain, part)

    assert _names(chain, smallest_part(chain, test)) == {guilty}
    assert len(asked) == len(set(asked)) <= 14


def test_operators_that_are_guilty_only_side_by_side_are_found_together(chain):
    def test(part):  # what fuses them is what is wrong
        return {"conv_a5", "relu5"} <= _names(chain, part)

    assert _names(chain, smallest_part(chain, test)) == {"conv_a5", "relu5"}


def test_an_error_that_adds_up_keeps_as_many_blocks_as_it_takes(chain):
    def test(part):
        return sum(name.startswith("conv") for name in _names(chain, part)) >= 10

    found = _names(chain, smallest_part(chain, test))
    assert sum(name.startswith("conv") for name in found) == 10


@pytest.mark.parametrize(
    ("whole", "bound"), [(0.02, 0.002), (1.0, 0.1), (4e5, 0.1), (float("inf"), 0.1)]
)
def test_what_layers_blow_up_is_not_asked_of_a_part(whole, bound):
    assert bound_of(whole, 0.1) == pytest.approx(bound)


def test_a_difference_is_a_share_of_the_largest_number():
    assert difference(np.float32([2, -4]), np.float32([2, -3])) == 0.25
    assert difference(np.float32([1, 2]), np.float32([1, 2])) == 0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, np.nan], [1, np.nan], 0),
        ([1, np.nan], [1, 2], np.inf),
        ([1, np.inf], [1, -np.inf], np.inf),
        ([np.inf], [np.inf], 0),
        ([0, 0], [0, 1], np.inf),
        ([1, 2], [[1, 2]], np.inf),
    ],
)
def test_what_is_not_finite_in_one_alone_is_an_infinite_difference(a, b, expected):
    assert difference(np.float32(a), np.float32(b)) == expected


@pytest.mark.parametrize(
    ("apart", "precisions", "expected"),
    [
        (2e-7, ("f32", "f32"), True),
        (2e-3, ("f32", "f32"), False),
        (2e-7, ("f32", "bf16"), False),
        (float("inf"), ("f32", "f32"), False),
        (None, ("f32", "f32"), False),
    ],
)
def test_what_float32_rounds_is_told_from_a_fault(apart, precisions, expected):
    assert is_rounding(apart, precisions) is expected
