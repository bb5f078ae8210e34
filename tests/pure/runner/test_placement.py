"""Where nodes ran: what counts as computation, and what may stay on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.placement import CPU, placement, read_profile, require, told

CUDA = "CUDAExecutionProvider"


def node(
    index: int,
    operator: str,
    provider: str,
    *outputs: dict[str, list[int]],
    inputs: tuple[dict[str, list[int]], ...] = (),
) -> dict[str, Any]:
    return {
        "cat": "Node",
        "name": f"{operator}_{index}_kernel_time",
        "args": {
            "op_name": operator,
            "provider": provider,
            "node_index": str(index),
            "input_type_shape": list(inputs),
            "output_type_shape": list(outputs),
        },
    }


CONV = node(0, "Conv", CUDA, {"float": [1, 32, 112, 112]})
SHAPE = node(1, "Shape", CPU, {"int64": [4]}, inputs=({"float": [1, 3, 512, 512]},))


def test_every_node_counts_once_for_its_provider_however_often_it_ran() -> None:
    found = placement([CONV, SHAPE, CONV, node(2, "Gemm", CUDA, {"float": [1, 10]}), SHAPE])
    assert found.nodes == {CUDA: 2, CPU: 1}
    assert found.shapes_on_cpu == {"Shape": 1}
    assert found.computed_on_cpu == {}
    assert require(found, CUDA) == {
        "nodes": {CUDA: 2, CPU: 1},
        "operators": {f"Conv ({CUDA})": 1, f"Gemm ({CUDA})": 1, f"Shape ({CPU})": 1},
        "computes_in": ["float32"],
        "shape_nodes_on_cpu": {"Shape": 1},
    }


def test_at_most_64_kinds_are_told_the_most_frequent_first() -> None:
    events = [node(i, f"Op{i}", CPU, {"float": [9]}) for i in range(80)]
    events += [node(100 + i, "Op79", CPU, {"float": [9]}) for i in range(3)]
    found = told(placement(events))
    assert found["nodes"] == {CPU: 83}
    assert len(found["operators"]) == 64
    assert next(iter(found["operators"].items())) == (f"Op79 ({CPU})", 4)
    assert found["operators"]["others"] == 17
    assert sum(found["operators"].values()) == 83


def test_dtypes_are_told_of_what_computes_and_not_of_shapes_or_copies() -> None:
    found = placement(
        [
            node(0, "Conv", CUDA, {"float16": [1, 9]}),
            node(1, "Conv", CUDA, {"float16": [1, 9]}),
            node(2, "ArgMax", CUDA, {"int64": [1]}),
            node(3, "Cast", CUDA, {"float": [1, 9]}),
            node(4, "MemcpyToHost", CUDA, {"double": [1, 9]}),
            node(5, "Shape", CPU, {"int32": [4]}),
        ]
    )
    assert told(found)["computes_in"] == ["float16", "float32", "int64"]


@pytest.mark.parametrize(
    ("operator", "taken", "given", "is_shape"),
    [
        ("ReduceSum", {"float": [1, 5, 512, 512]}, {"float": [1, 5]}, False),
        ("ReduceMax", {"int64": [1, 512]}, {"int64": [1]}, False),
        ("ReduceProd", {"int64": [4]}, {"int64": []}, True),
        ("Gather", {"float": [1000, 8]}, {"float": [8]}, False),
        ("Gather", {"int64": [4]}, {"int64": [2]}, True),
        ("Slice", {"float": [1, 3, 224, 224]}, {"float": [1]}, False),
        ("Size", {"float16": [1, 3, 224, 224]}, {"int64": []}, True),
        ("Cast", {"int64": [2]}, {"float": [2]}, True),
        ("Div", {"float": [2]}, {"float": [2]}, True),
        ("Add", {"float": [2]}, {"float": [2]}, False),
        ("Where", {"float": [2]}, {"float": [2]}, False),
    ],
)
def test_what_a_node_took_counts_as_what_it_gave_and_only_scales_are_no_whole_numbers(
    operator: str, taken: dict[str, list[int]], given: dict[str, list[int]], is_shape: bool
) -> None:
    found = placement([CONV, node(7, operator, CPU, given, inputs=(taken,))])
    assert bool(found.shapes_on_cpu) is is_shape
    assert bool(found.computed_on_cpu) is not is_shape


@pytest.mark.parametrize("lacking", ["input_type_shape", "output_type_shape"])
def test_a_node_of_which_too_little_is_said_is_taken_for_one_that_computes(lacking: str) -> None:
    event = node(7, "Gather", CPU, {"int64": [1]}, inputs=({"int64": [4]},))
    del event["args"][lacking]
    assert placement([CONV, event]).computed_on_cpu == {"Gather": 1}


def test_what_is_no_node_that_ran_does_not_count() -> None:
    fence = dict(CONV, name="Conv_0_fence_before", args={"op_name": "Conv"})
    session = {"cat": "Session", "name": "model_run", "args": {}}
    assert placement([fence, session, CONV]).nodes == {CUDA: 1}


@pytest.mark.parametrize(
    ("operator", "output", "is_shape"),
    [
        ("Gather", {"int64": []}, True),
        ("Concat", {"int64": [4]}, True),
        ("Concat", {"float": [4]}, True),
        ("Cast", {"bool": [32]}, True),
        ("Concat", {"int64": [1, 33]}, False),
        ("Add", {"float": [1, 10]}, False),
        ("Concat", {"float": [1, 64, 55, 55]}, False),
        ("Conv", {"float": [1]}, False),
        ("Softmax", {"float": [1, 2]}, False),
    ],
)
def test_only_a_handful_of_numbers_by_shape_operators_may_stay_on_the_cpu(
    operator: str, output: dict[str, list[int]], is_shape: bool
) -> None:
    found = placement([CONV, node(7, operator, CPU, output)])
    assert (found.shapes_on_cpu, found.computed_on_cpu) == (
        ({operator: 1}, {}) if is_shape else ({}, {operator: 1})
    )


def test_a_node_whose_outputs_the_profile_does_not_tell_is_computation() -> None:
    untold = node(1, "Shape", CPU)
    del untold["args"]["output_type_shape"]
    assert placement([CONV, untold]).computed_on_cpu == {"Shape": 1}


def test_computation_on_the_cpu_is_refused_and_its_operators_are_named() -> None:
    events = [CONV, *(node(i, "ArgMax", CPU, {"int64": [1]}) for i in (3, 4))]
    with pytest.raises(RunnerError, match=r"ran 1 nodes there; 2 nodes .* \(ArgMax 2\)") as caught:
        require(placement(events), CUDA)
    assert caught.value.kind == "unsupported"


def test_copies_alone_are_no_computation_on_the_gpu() -> None:
    copies = [node(1, "MemcpyToHost", CUDA, {"float": [1]}), SHAPE]
    with pytest.raises(RunnerError, match="ran 0 nodes there"):
        require(placement(copies), CUDA)


def test_a_profile_is_read_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps([CONV]))
    assert read_profile(str(path)).nodes == {CUDA: 1}
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "[{", "[]"])
def test_a_profile_without_nodes_proves_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(RunnerError) as caught:
        read_profile(str(path))
    assert caught.value.kind == "backend"
