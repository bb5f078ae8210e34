"""A comparison in the terminal says in which conversions two cells differ."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.converted_cells import convert
from support.store_factory import StoreFactory, logits

from harness.analysis.choice import choose
from harness.analysis.comparison import compare_cells
from harness.report.comparison import print_comparison


@pytest.mark.parametrize(
    ("route", "columns", "names", "said"),
    [
        (
            "keras>onnx:y",
            {},
            ("e-1, keras>onnx:x", "e-1, keras>onnx:y"),
            ["route keras>onnx:x (made in tf2onnx-1.17) to keras>onnx:y (made in tf2onnx-1.17)"],
        ),
        (
            "keras>onnx:x",
            {"converted_in": "tf2onnx-1.17", "way": "another"},
            None,
            ["route keras>onnx:x (made in tf2onnx-1.17), made otherwise"],
        ),
        (
            "keras>onnx:x>onnx:quantise",
            {"quantisation": "static", "opset": 17},
            ("e-1, own opset, not quantised", "e-1, opset 17, static quantisation"),
            ["opset own opset to opset 17", "quantisation not quantised to static quantisation"],
        ),
    ],
)
def test_axes_of_conversions_are_told_from_one_to_the_other(
    tmp_path: Path,
    route: str,
    columns: dict[str, Any],
    names: tuple[str, str] | None,
    said: list[str],
) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(5), logits(5, 3)
    a = convert(factory, inputs, x, "keras>onnx:x", environment="e-1")
    b = convert(factory, inputs, x, route, environment="e-1", **columns)
    factory.sweep([a, b])
    # What is printed can be typed.
    found = compare_cells(tmp_path, choose(tmp_path, *(names or (a, b))), [])
    console = Console(width=200, file=io.StringIO(), color_system=None)
    print_comparison(found, console)
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    for line in said:
        assert line in text
    if names:
        assert f"{names[0]} to {names[1]}" in text
