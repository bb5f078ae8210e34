"""PyTorch programs become TensorFlow Lite files, with the layout and quantisation asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.environment_python import run_inside

PROGRAM = Path(__file__).with_name("torch_to_tflite.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program in the environment found."""
    said = run_inside("litert-torch-0.10", PROGRAM, tmp_path_factory.mktemp("torch-to-tflite"))
    document: dict[str, Any] = json.loads(said.splitlines()[-1])
    return document


def test_the_file_answers_as_the_program_in_the_order_of_its_outputs(found: dict[str, Any]) -> None:
    one = found["converted"]["many"]
    assert one["input"] == [2, 3, 8, 10]
    assert one["outputs"] == 12
    assert one["difference"] < 1e-4
    assert one["said"]["probe_max_abs_diff"] < 1e-4
    assert one["said"]["input_axes"] is None
    assert {"torch", "litert-torch", "litert-converter"} <= set(one["said"]["versions"])
    assert not one["integers"]


def test_channels_last_is_the_input_transposed(found: dict[str, Any]) -> None:
    one = found["converted"]["nhwc"]
    assert one["input"] == [2, 8, 10, 3]
    assert one["said"]["input_axes"] == [0, 2, 3, 1]
    assert one["difference"] < 1e-5


def test_dynamic_quantisation_makes_integers_of_weights(found: dict[str, Any]) -> None:
    one = found["converted"]["dynamic"]
    assert one["integers"]
    assert "torchao" in one["said"]["versions"]
    assert 1e-5 < one["difference"] < 0.1


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        ("layout", "unsupported", "layout 'nwhc' (it supports: nchw, nhwc)"),
        ("no image", "unsupported", "the program takes 2 dimensions"),
        ("static", "unsupported", "quantisation 'static' (it supports: dynamic)"),
        ("nothing", "conversion", "quantised nothing"),
        ("double", "unsupported", "the program holds float64"),
        ("batch", "unsupported", "exported for inputs [2, 3, 8, 10] and [1, 3, 8, 10]"),
        ("opset", "unsupported", "the option 'opset'"),
    ],
)
def test_what_cannot_be_is_refused(
    found: dict[str, Any], request_: str, kind: str, words: str
) -> None:
    told_kind, told = found["refused"][request_]
    assert told_kind == kind
    assert words in told
