"""Which operators a TFLite delegate took, which kernels a package has, and how they are counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.support import tflite_interpreter
from runner.support.tally import LIMIT, most, tally


def operator(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


# 0 -> QUANTIZE -> 1 -> CONV (weights 9) -> 2 -> ADD with 2 -> 3 -> SOFTMAX -> 4
LISTED = [
    operator("QUANTIZE", [0], [1]),
    operator("CONV_2D", [1, 9, -1], [2]),
    operator("ADD", [2, 2], [3]),
    operator("SOFTMAX", [3], [4]),
    operator("DELEGATE", [1, 9], [3]),
]


def test_a_delegate_runs_what_lies_between_its_inputs_and_its_outputs() -> None:
    assert tflite_interpreter.delegated(LISTED) == {1, 2}
    assert tflite_interpreter.partitions(LISTED) == 1


def test_operators_are_told_by_who_runs_them_and_the_delegates_own_node_is_none() -> None:
    assert tflite_interpreter.by_kernel(LISTED, "xnnpack") == {
        "ADD (xnnpack)": 1,
        "CONV_2D (xnnpack)": 1,
        "QUANTIZE (builtin)": 1,
        "SOFTMAX (builtin)": 1,
    }
    assert tflite_interpreter.by_kernel(LISTED[:4], "reference")["ADD (reference)"] == 1


def test_two_parts_of_a_graph_are_two_partitions() -> None:
    listed = [
        operator("CONV_2D", [0], [1]),
        operator("CUSTOM", [1], [2]),
        operator("CONV_2D", [2], [3]),
        operator("DELEGATE", [0], [1]),
        operator("DELEGATE", [2], [3]),
    ]
    assert tflite_interpreter.partitions(listed) == 2
    assert tflite_interpreter.delegated(listed) == {0, 2}


def test_a_version_that_does_not_tell_its_operators_is_no_error() -> None:
    assert tflite_interpreter.operators(SimpleNamespace()) is None


def test_kernels_that_a_version_lacks_are_refused_with_those_it_has() -> None:
    types = SimpleNamespace(AUTO=0, BUILTIN_WITHOUT_DEFAULT_DELEGATES=3)
    module = SimpleNamespace(OpResolverType=types)
    assert tflite_interpreter.resolver(module, "old", "builtin") == 3
    with pytest.raises(RunnerError, match=r"'reference' \(it supports: xnnpack, builtin\)") as told:
        tflite_interpreter.resolver(module, "old", "reference")
    assert told.value.kind == "unsupported"


def test_kinds_are_counted_the_most_frequent_first_and_no_more_than_may_be_told() -> None:
    assert list(tally(["b", "a", "b"]).items()) == [("b", 2), ("a", 1)]
    many = tally(f"kind {number:03}" for number in range(LIMIT + 10))
    assert len(many) == LIMIT
    assert many["others"] == 11
    assert sum(many.values()) == LIMIT + 10


def test_the_most_frequent_are_kept_in_order_and_none_is_lost() -> None:
    told = most({f"kind{number}": 100 - number for number in range(70)})
    assert len(told) == LIMIT
    assert list(told)[:2] == ["kind0", "kind1"]
    assert told["others"] == sum(100 - number for number in range(63, 70))
    assert most({"b": 1, "a": 1, "c": 2}, 2) == {"c": 2, "others": 2}
