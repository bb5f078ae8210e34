"""PyTorch programs become ONNX files by both exporters, with the opset and folding asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.environment_python import run_inside

PROGRAM = Path(__file__).with_name("torch_to_onnx.py")
TOOLS = ("dynamo", "torchscript")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program in the environment found."""
    said = run_inside("torch-2.13", PROGRAM, tmp_path_factory.mktemp("torch-to-onnx"))
    document: dict[str, Any] = json.loads(said.splitlines()[-1])
    return document


@pytest.mark.parametrize("tool", TOOLS)
def test_one_file_answers_as_the_program_in_the_order_of_its_outputs(
    found: dict[str, Any], tool: str
) -> None:
    one = found["converted"][tool]
    assert one["names"] == ["input", "output_0", "output_1"]
    assert one["shapes"] == [[2, 5], [2, 8, 8, 10]]
    assert one["difference"] < 1e-5
    assert one["probe"] < 1e-5
    assert one["files"] == ["made.onnx"]
    assert {"torch", "onnx", "numpy"} <= set(one["versions"])


@pytest.mark.parametrize("tool", TOOLS)
def test_folding_is_batch_norms_that_are_gone(found: dict[str, Any], tool: str) -> None:
    assert "BatchNormalization" not in found["converted"][tool]["operators"]
    unfolded = found["converted"][f"{tool} unfolded"]
    assert unfolded["operators"]["BatchNormalization"] == 1
    assert unfolded["difference"] < 1e-5


@pytest.mark.parametrize(
    ("asked", "opset"),
    [
        ("dynamo", 20),
        ("dynamo 18", 18),
        ("dynamo 25", 25),
        ("torchscript", 17),
        ("torchscript 9", 9),
        ("torchscript 20", 20),
    ],
)
def test_the_opset_is_what_was_asked_for(found: dict[str, Any], asked: str, opset: int) -> None:
    assert found["converted"][asked]["opset"] == opset
    assert found["converted"][asked]["difference"] < 1e-5


def test_a_batch_that_the_program_leaves_open_stays_open_by_dynamo_alone(
    found: dict[str, Any],
) -> None:
    by_tool = {tool: found["converted"][f"{tool} open"] for tool in TOOLS}
    assert {tool: one["batch_is_open"] for tool, one in by_tool.items()} == {
        "dynamo": True,
        "torchscript": False,
    }
    assert all(one["shapes"] == [[3, 5]] and one["difference"] < 1e-5 for one in by_tool.values())


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        ("another batch", "unsupported", "exported for inputs [2, 3, 8, 10] and [3, 3, 8, 10]"),
        ("another size", "unsupported", "exported for inputs [2, 3, 8, 10] and [2, 3, 9, 9]"),
        ("old opset", "unsupported", "opset 17 (it supports: 18 to 25)"),
        ("new opset", "unsupported", "opset 21 (it supports: 9 to 20)"),
        ("folding", "unsupported", "folding 'yes' (it supports: True, False)"),
        ("layout", "unsupported", "the option 'layout'"),
        ("broken", "model", "broken.pt2"),
    ],
)
def test_what_cannot_be_is_refused(
    found: dict[str, Any], request_: str, kind: str, words: str
) -> None:
    told_kind, told = found["refused"][request_]
    assert told_kind == kind
    assert words in told


def test_onnx2torch_refuses_dynamos_operators_with_the_remedy(found: dict[str, Any]) -> None:
    kind, told = found["refused"]["back"]
    assert kind == "unsupported"
    assert "no converter for AveragePool-19, ReduceMean-18" in told
    assert "export the model with that one (as torch>onnx:torchscript does)" in told


def test_onnx2torch_is_given_no_remedy_for_what_no_opset_has(found: dict[str, Any]) -> None:
    kind, told = found["refused"]["unknown"]
    assert kind == "unsupported"
    assert "Nothing-20" in told
    assert told.endswith("take a route without onnx>torch, or export the model without them")
