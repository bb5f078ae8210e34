"""What is asked of a model before anything is done with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.small_onnx import Small, one

from runner.errors import RunnerError
from runner.support import onnx_model

HALF = np.eye(3, dtype=np.float16)
F16, F32 = TensorProto.FLOAT16, TensorProto.FLOAT


def rows(*nodes: Any, **constants: np.ndarray) -> onnx.ModelProto:
    return Small(list(nodes), constants, ["N", 3]).model()


def test_weights_that_are_listed_as_inputs_are_not_fed() -> None:
    model = rows(("MatMul", "x w", "y", {}), w=np.eye(3, dtype=np.float32))
    model.graph.input.append(helper.make_tensor_value_info("w", F32, [3, 3]))
    assert [value.name for value in onnx_model.inputs(model)] == ["x"]


def test_the_opset_is_that_of_onnxs_own_operators() -> None:
    model = Small(one("Relu"), opset=13).model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 99))
    assert onnx_model.supported_opset(model, "onnx>jax") == 13
    del model.opset_import[0]
    with pytest.raises(RunnerError, match="does not say which opset") as caught:
        onnx_model.supported_opset(model, "onnx>jax")
    assert caught.value.kind == "model"


def test_an_opset_of_other_meanings_is_refused() -> None:
    model = Small(one("Relu"), opset=6).model()
    with pytest.raises(RunnerError, match="opset 6 and 7 is the oldest") as caught:
        onnx_model.supported_opset(model, "onnx>jax")
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("target", ["FLOAT16", "BFLOAT16"])
def test_a_product_between_casts_is_computed_in_half_precision(target: str) -> None:
    kind = TensorProto.DataType.Value(target)
    model = rows(
        ("Cast", "x", "h", {"to": kind}),
        ("MatMul", "h h", "m", {}),
        ("Cast", "m", "y", {"to": F32}),
    )
    assert onnx_model.narrow_floats(model) == (target.lower(),)
    with pytest.raises(RunnerError, match=f"computes in {target.lower()} .*precision default"):
        onnx_model.require_float32("iree", model)


def test_weights_that_are_only_held_in_half_precision_are_not_computed_in() -> None:
    constant = {"value": numpy_helper.from_array(HALF)}
    for held in (("Identity", "h", "w", {}), ("Constant", "", "w", constant)):
        model = rows(held, ("Cast", "w", "f", {"to": F32}), ("MatMul", "x f", "y", {}), h=HALF)
        assert onnx_model.narrow_floats(model) == ()
        onnx_model.require_float32("iree", model)


def test_types_that_onnx_can_not_infer_are_told_by_the_weights() -> None:
    model = rows(("Fused", "x w", "y", {}), w=HALF)
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert onnx_model.narrow_floats(model) == ("float16",)


def test_branches_and_functions_are_looked_into() -> None:
    inner = [helper.make_node("Cast", ["x"], ["h"], to=F16)]
    branch = helper.make_graph(inner, "then", [], [helper.make_tensor_value_info("h", F16, None)])
    model = rows(("If", "c", "b", {"then_branch": branch, "else_branch": branch}), c=np.array(True))
    assert onnx_model.narrow_floats(model) == ("float16",)
    model = rows(("Narrow", "x", "y", {}))
    model.graph.node[0].domain = "own"
    body = [
        helper.make_node("Cast", ["a"], ["h"], to=F16),
        helper.make_node("Cast", ["h"], ["b"], to=F32),
    ]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Narrow", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert onnx_model.narrow_floats(model) == ("float16",)
