"""Every architecture becomes an ONNX file that ONNX takes, also at another batch than the traced one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.environment_python import run_inside

from runner import architectures

PROGRAM = Path(__file__).with_name("onnx_of_architectures.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program in the environment found."""
    said = run_inside("torch-2.13", PROGRAM, tmp_path_factory.mktemp("onnx"))
    document: dict[str, Any] = json.loads(said.splitlines()[-1])
    return document


@pytest.mark.parametrize("name", architectures.names())
def test_the_onnx_file_answers_as_the_module(found: dict[str, Any], name: str) -> None:
    assert found[name]["operators"] == []
    assert found[name]["probe"] < 1e-4


@pytest.mark.parametrize("name", ["vit_b_16", "mobilenet_v2", "squeezenet1_1"])
def test_its_batch_is_open(found: dict[str, Any], name: str) -> None:
    assert found[name]["other_batch"] < 1e-4


def test_pytorchs_fused_attention_is_left_as_it_was(found: dict[str, Any]) -> None:
    assert found["fast"] == [False, True]


def test_an_onnx_file_that_is_not_valid_is_a_failed_conversion(found: dict[str, Any]) -> None:
    (rules_kind, rules), (cut_kind, cut) = found["refused"]
    assert rules_kind == cut_kind == "conversion"
    assert "an ONNX file that is not valid: ValidationError: No Op registered for Nothing" in rules
    assert "an ONNX file that is not valid: DecodeError" in cut
