"""What an ONNX model computes: the same for other names and orders, another for another number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runner.errors import RunnerError
from runner.support import onnx_structure
from runner.support.onnx_structure import Structure

WEIGHTS = np.arange(8, dtype=np.float32).reshape(2, 4)


def model(*nodes: Any, opset: int = 17, **weights: np.ndarray) -> onnx.ModelProto:
    """[N, 2] to [N, 4] by default: a product with weights, and its sigmoid."""
    held = weights or {"w": WEIGHTS}
    graph = helper.make_graph(
        list(nodes)
        or [
            helper.make_node("MatMul", ["x", "w"], ["p"], name="first"),
            helper.make_node("Sigmoid", ["p"], ["y"], name="second"),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def structure(made: onnx.ModelProto) -> Structure:
    return onnx_structure.read(memoryview(made.SerializeToString()))


def branches(*order: str, names: str = "{}") -> onnx.ModelProto:
    """Two products side by side, and their sum; the products are listed in this order."""
    products = [
        helper.make_node("MatMul", ["x", each], [names.format(f"p{each}")]) for each in order
    ]
    both = [names.format("pa"), names.format("pb")]
    return model(*products, helper.make_node("Add", both, ["y"]), a=WEIGHTS, b=WEIGHTS + 1)


def test_names_and_order_are_no_part_of_what_is_computed() -> None:
    plain = structure(branches("a", "b"))
    assert structure(branches("b", "a")) == plain
    assert structure(branches("a", "b", names="other_{}_17")) == plain
    assert plain.operators == {"MatMul": 2, "Add": 1}


def test_an_unused_weight_and_what_is_written_about_a_model_change_nothing() -> None:
    plain, told = model(), model(w=WEIGHTS, unused=WEIGHTS + 3)
    told.producer_name, told.graph.name, told.graph.doc_string = "tool", "other", "about it"
    told.graph.node[0].doc_string = "a product"
    told.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    assert structure(told) == structure(plain)


def _one_bit(made: onnx.ModelProto) -> None:
    values = numpy_helper.to_array(made.graph.initializer[0]).copy()
    values[1, 3] = np.nextafter(values[1, 3], np.float32(9))
    made.graph.initializer[0].raw_data = values.tobytes()


def _shape(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].dims[:] = [4, 2]


def _kind(made: onnx.ModelProto) -> None:
    made.graph.node[1].op_type = "Tanh"


def _domain(made: onnx.ModelProto) -> None:
    made.graph.node[1].domain = "com.example"


def _attribute(made: onnx.ModelProto) -> None:
    made.graph.node[1].attribute.append(helper.make_attribute("alpha", 0.5))


def _edge(made: onnx.ModelProto) -> None:
    made.graph.output[0].name = "p"


def _open_size(made: onnx.ModelProto) -> None:
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _opset(made: onnx.ModelProto) -> None:
    made.opset_import[0].version = 18


@pytest.mark.parametrize(
    "change", [_one_bit, _shape, _kind, _domain, _attribute, _edge, _open_size, _opset]
)
def test_whatever_is_executed_is_in_the_hash(change: Callable[[onnx.ModelProto], None]) -> None:
    changed = model()
    change(changed)
    assert structure(changed).sha256 != structure(model()).sha256


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.float32, TensorProto.FLOAT),
        (np.float64, TensorProto.DOUBLE),
        (np.int64, TensorProto.INT64),
        (np.int32, TensorProto.INT32),
        (np.int8, TensorProto.INT8),
        (np.uint8, TensorProto.UINT8),
        (np.uint64, TensorProto.UINT64),
        (np.bool_, TensorProto.BOOL),
    ],
)
def test_a_weight_is_the_same_in_raw_bytes_and_in_a_list(dtype: Any, kind: int) -> None:
    values = np.array([[1, 0, 3, 1]]).astype(dtype)
    listed, raw = model(w=values), model(w=values)
    listed.graph.initializer[0].CopyFrom(
        helper.make_tensor("w", kind, values.shape, values.ravel().tolist())
    )
    assert raw.graph.initializer[0].raw_data
    assert not listed.graph.initializer[0].raw_data
    assert structure(listed) == structure(raw)


def test_a_body_sees_the_values_around_it() -> None:
    def chosen(read: str) -> onnx.ModelProto:
        body = helper.make_graph(
            [helper.make_node("Neg", [read], ["inner"])],
            "body",
            [],
            [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
        )
        return model(
            helper.make_node("MatMul", ["x", "w"], ["p"]),
            helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body),
            w=WEIGHTS,
            c=np.asarray(True),
        )

    assert structure(chosen("p")).operators == {"MatMul": 1, "If": 1, "Neg": 2}
    assert structure(chosen("p")).sha256 != structure(chosen("w")).sha256


def test_kinds_of_another_domain_are_named_with_it() -> None:
    made = model(helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc"))
    assert structure(made).operators == {"com.microsoft.nchwc.Conv": 1}


def test_a_cut_file_and_one_whose_weights_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model().SerializeToString()[:-9])
    with pytest.raises(RunnerError, match="can't be read as ONNX") as told:
        onnx_structure.read_file(str(path))
    assert told.value.kind == "model"
    outside = model()
    weight = outside.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    weight.ClearField("raw_data")
    path.write_bytes(outside.SerializeToString())
    with pytest.raises(RunnerError, match="its weights lie in another file"):
        onnx_structure.read_file(str(path))
