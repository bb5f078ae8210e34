"""How an optimiser of ONNX files is written in a sweep."""

from __future__ import annotations

from typing import Any

import pytest

from harness.spec.optimise import checked_optimise, read_optimise


@pytest.mark.parametrize(
    ("text", "tool", "options"),
    [
        ("onnxsim", "onnxsim", {}),
        ("onnxoptimizer=a_b+c", "onnxoptimizer", {"passes": ["a_b", "c"]}),
        ("onnxoptimizer=", "onnxoptimizer", {"passes": []}),
        ("onnxsim-fold+d2", "onnxsim", {"disabled_passes": ["fold", "d2"]}),
    ],
)
def test_a_tool_is_read_with_its_passes(text: str, tool: str, options: dict[str, Any]) -> None:
    found = read_optimise(text)
    assert found is not None
    assert (found.tool, found.options) == (tool, options)


def test_none_asks_for_nothing() -> None:
    assert read_optimise("none") is None
    assert checked_optimise(" onnxsim ") == "onnxsim"


@pytest.mark.parametrize(
    "text", ["", "onnxslim", "onnxsim-", "onnxsim=a,b", "onnxsim=a+", "none=a"]
)
def test_anything_else_is_refused_with_how_it_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="write none, onnxoptimizer or onnxsim"):
        read_optimise(text)


def test_a_pass_is_named_once() -> None:
    with pytest.raises(ValueError, match="names a twice"):
        read_optimise("onnxsim=a+b+a")
