"""The paper's twelve conversions: what a field says, and who ran the models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.converted_cells import convert, swept
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.sweep_result import sweep_result
from harness.report.conversions import model_views
from harness.report.paper_square import FieldView, square

LITE = {"backend": "tflite"}
TORCH = {"backend": "torch.eager"}


def torch_row(root: Path, cells: Sequence[tuple[str, int, dict[str, Any]]]) -> tuple[Any, ...]:
    """PyTorch's row of cells over ten images, each a route, its flips and columns."""
    factory = StoreFactory(root)
    inputs, x = factory.inputs(10), logits(10, 3)
    factory.sweep(
        [convert(factory, inputs, flip_first(x, n), route, **more) for route, n, more in cells]
    )
    (view,) = model_views(sweep_result(root, "sweep-1"))
    return dict(view.square)["PyTorch"]


def test_the_papers_twelve_say_flips_or_the_failure(tmp_path: Path) -> None:
    (view,) = model_views(swept(tmp_path))
    rows = dict(view.square)
    assert [row[place].state for place, row in enumerate(rows.values())] == ["self"] * 4
    keras = rows["Keras"]
    assert keras[3] == FieldView("differs", "0 to 2", "of 20 labels; 2 of 2 routes work")
    assert (keras[1].state, keras[1].said) == ("failed", "failed")
    assert keras[1].more.startswith("model.onnx can't be <b>converted</b>")
    assert keras[2] == FieldView("absent", "\u2013")
    assert {field.state for field in rows["TFLite"][:3]} == {"absent"}
    assert sum("Optimize.DEFAULT" in finding for finding in view.findings) == 1


def test_what_only_ran_quantised_or_without_its_beginning_is_marked(tmp_path: Path) -> None:
    row = torch_row(
        tmp_path,
        [
            ("torch>tflite", 0, {**LITE, "quantisation": "dynamic"}),
            ("torch>onnx>savedmodel", 0, {"backend": "tensorflow.graph"}),
        ],
    )
    none = "no cell run alike runs it as PyTorch"
    assert row[3] == FieldView("works", "works", f"{none}, quantised")
    assert row[2] == FieldView("works", "works", none)


@pytest.mark.parametrize(
    ("backend", "tail"),
    [("tensorflow.eager", ""), ("openvino", "; TensorFlow run by openvino")],
)
def test_a_foreign_reader_is_named(tmp_path: Path, backend: str, tail: str) -> None:
    cells = [("torch", 0, TORCH), ("torch>savedmodel", 1, {"backend": backend})]
    row = torch_row(tmp_path, cells)
    assert row[2] == FieldView("differs", "1", f"of 10 labels{tail}")


def test_a_foreign_reader_does_not_count_beside_the_framework(tmp_path: Path) -> None:
    cells = [
        ("torch", 3, {"backend": "tvm"}),
        ("torch", 0, TORCH),
        ("torch>tflite", 0, LITE),
        ("torch>tflite", 2, {"backend": "openvino"}),
    ]
    assert torch_row(tmp_path, cells)[3] == FieldView("same", "0", "of 10 labels")


def test_a_foreign_beginning_is_named(tmp_path: Path) -> None:
    cells = [("torch", 0, {"backend": "tvm"}), ("torch>tflite", 0, LITE)]
    expected = FieldView("same", "0", "of 10 labels; PyTorch run by tvm")
    assert torch_row(tmp_path, cells)[3] == expected


def test_a_count_of_images_stands_only_where_all_agree() -> None:
    common = {
        "paper": "PyTorch to TFLite",
        "quantisation": None,
        "status": "done",
        "paper_foreign": [],
        # Of another comparison.
        "images": 7,
    }
    first = {**common, "paper_flips": 1, "paper_images": 500}
    for images, said in ((500, "of 500 labels"), (20, "labels")):
        second = {**common, "paper_flips": 1, "paper_images": images}
        field = dict(square([first, second]))["PyTorch"][3]
        assert field == FieldView("differs", "1", f"{said}; 2 of 2 routes work")
