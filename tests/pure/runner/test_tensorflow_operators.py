"""What TensorFlow ran, read from its graphs, its calls and XLA's text."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.support import tensorflow_operators as operators
from runner.support.tensorflow_operators import Operator

FLOAT, INT32, BFLOAT16 = 1, 3, 14
HLO = """HloModule a

%body (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %n = f32[4]{0} negate(%p)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %c = f32[4]{0} convolution(%x, %x), window={size=3x3}
  ROOT %f = f32[4]{0} fusion(%c), kind=kLoop, calls=%body
}
"""


def node(op: str, place: str = "CPU", types: tuple[int, ...] = (FLOAT,), **flags: bool) -> Any:
    """A node of a graph, as TensorFlow's protocol buffer gives it."""
    empty = SimpleNamespace(type=0, list=SimpleNamespace(type=[]), b=False)
    attributes: Any = defaultdict(lambda: empty)
    attributes["T"] = SimpleNamespace(type=types[0], list=SimpleNamespace(type=types[1:]), b=False)
    for name, value in flags.items():
        attributes[name] = SimpleNamespace(type=0, list=SimpleNamespace(type=[]), b=value)
    device = f"/job:localhost/replica:0/task:0/device:{place}:0"
    return SimpleNamespace(op=op, device=device, attr=attributes)


def function(*nodes: Any) -> Any:
    return SimpleNamespace(partition_graphs=[SimpleNamespace(node=nodes)])


def test_operators_are_counted_by_kind_and_place_and_what_carries_values_is_not() -> None:
    found = operators.of_graphs(
        [
            function(
                node("_Arg"),
                node("Const"),
                node("_MklNativeFusedConv2D"),
                node("_MklNativeFusedConv2D"),
                node("ReadVariableOp"),
                node("IteratorGetNext"),
                node("MatMul", "GPU"),
                node("_Retval"),
            )
        ]
    )
    assert operators.count(found) == {
        "_MklNativeFusedConv2D (CPU)": 2,
        "MatMul (GPU)": 1,
        "ReadVariableOp (CPU)": 1,
    }


def test_single_operations_that_prepare_the_input_are_left_out_beside_a_function() -> None:
    single = function(node("_Arg"), node("ParallelMapDatasetV2"))
    random = function(node("RandomStandardNormal"), node("_Retval"))
    real = function(node("Conv2D"), node("Relu6"))
    assert [op.kind for op in operators.of_graphs([single, random, real])] == ["Conv2D", "Relu6"]
    assert operators.count(operators.of_graphs([random])) == {"RandomStandardNormal (CPU)": 1}


def test_what_xla_must_compile_is_called_its_program() -> None:
    found = operators.of_graphs(
        [function(node("StatefulPartitionedCall", _XlaMustCompile=True), node("Relu"))]
    )
    assert operators.count(found) == {"Relu (CPU)": 1, "XLA program (CPU)": 1}


def test_the_main_computation_of_an_xla_program_is_counted() -> None:
    found = operators.of_hlo(HLO, "CPU")
    assert operators.count(found) == {"convolution (XLA)": 1, "loop fusion (XLA)": 1}
    operators.require_float32("tensorflow.xla", found)


def test_a_smaller_float_anywhere_in_an_xla_program_is_seen() -> None:
    hidden = HLO.replace("%n = f32[4]", "%n = bf16[4]")
    with pytest.raises(RunnerError, match="bfloat16") as caught:
        operators.require_float32("tensorflow.xla", operators.of_hlo(hidden, "CPU"))
    assert caught.value.kind == "unsupported"


def test_f32_refuses_operators_in_bfloat16_and_names_them() -> None:
    found = operators.of_graphs([function(node("Conv2D", types=(BFLOAT16,)), node("Relu"))])
    with pytest.raises(RunnerError, match=r"Conv2D in bfloat16.*precision default") as caught:
        operators.require_float32("tensorflow.graph", found)
    assert caught.value.kind == "unsupported"


def test_on_the_gpu_arithmetic_of_shapes_may_stay_with_the_host() -> None:
    found = operators.of_graphs(
        [
            function(
                node("Conv2D", "GPU"),
                node("Relu", "GPU"),
                node("StridedSlice", types=(INT32, INT32)),
                node("_Send"),
            )
        ]
    )
    assert operators.require_gpu("tensorflow.graph", found) == {
        "operators": 2,
        "shape_operators_on_cpu": 1,
    }


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ([node("Conv2D", "GPU"), node("LRN")], r"ran 1 operators there; 1 ran elsewhere \(LRN 1\)"),
        ([node("Conv2D", "GPU"), node("Mul")], r"1 ran elsewhere \(Mul 1\)"),
        ([node("Conv2D", "GPU"), node("NonMaxSuppressionV3", types=(INT32,))], "elsewhere"),
        ([node("Shape", types=(INT32,)), node("Pack", types=(INT32,))], "ran 0 operators there"),
    ],
)
def test_one_operator_that_computes_on_the_cpu_is_refused_and_named(
    there: list[Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        operators.require_gpu("tensorflow.graph", operators.of_graphs([function(*there)]))
    assert caught.value.kind == "unsupported"


def test_no_more_than_64_kinds_are_told() -> None:
    many = [Operator(f"Op{i}", "CPU", frozenset()) for i in range(100)]
    counted = operators.count(many)
    assert len(counted) == 64
    assert sum(counted.values()) == 100
