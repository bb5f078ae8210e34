"""Conversions on the page, in the terminal and in Markdown."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.converted_cells import convert, failed
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.sweep_result import sweep_result
from harness.report.conversions import FieldView, model_views
from harness.report.html import write_report
from harness.report.markdown import as_markdown
from harness.report.tables import print_sweep

ONNX = "weights>keras>onnx:tf2onnx"
LONG = "/some/where/model.onnx can't be <b>converted</b>: " + "many words " * 40


def swept(root: Path, routes: int = 0) -> dict[str, Any]:
    """Keras, two ways to TFLite, one of them quantised too, and one way to PyTorch that fails."""
    factory = StoreFactory(root)
    x = logits(20, 4)
    inputs = factory.inputs(20, [int(c) for c in x.argmax(axis=1)])

    def add(route: str, flips: int, checks: tuple[Any, ...], **columns: Any) -> str:
        return convert(factory, inputs, flip_first(x, flips), route, checks, **columns)

    lite = {"environment": "litert-2", "backend": "tflite"}
    static = {"quantisation": "static"}
    keys = [
        add("weights>keras", 0, (None,), environment="keras-3"),
        add("weights>keras>tflite", 0, (None, 2e-7), **lite),
        add("weights>keras>tflite:x", 2, (None, 0.004), **lite),
        add("weights>keras>tflite", 5, (None, 0.1), **lite, **static, options=static),
        add("weights>jax", 3, (None,), environment="jax-1"),
    ]
    keys += [add(f"weights>keras>tflite:n{i}", i % 4, (None, 1e-3), **lite) for i in range(routes)]
    broken = failed(factory, inputs, f"{ONNX}>torch", (None, 1e-6), environment="torch-2")
    message = f"step 3, onnx>torch in tf2onnx-1.17: {LONG}"
    factory.sweep(
        keys,
        failed=[broken],
        failures=[{"key": broken["key"], "kind": "conversion", "message": message}],
    )
    return sweep_result(root, "sweep-1")


def page(root: Path, routes: int = 0) -> str:
    swept(root, routes)
    text = write_report(root, "sweep-1", root / "report.html").read_text("utf-8")
    (section,) = re.findall("<h2>Conversions</h2>(.*?)</section>", text, re.DOTALL)
    return str(section)


def words_of(part: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", part.replace("<wbr>", ""))).split())


def test_the_page_has_a_row_a_route(tmp_path: Path) -> None:
    rows = [words_of(row) for row in re.findall("<tr>.*?</tr>", page(tmp_path), re.DOTALL)]
    lite = next(row for row in rows if row.startswith("weights>keras>tflite litert-2"))
    assert "works weights>keras not compared keras>tflite 2e-06 (under 0.01 % of the range)" in lite
    assert "0 of 20 keras-3 (its source) 1.000 \u2192 1.000" in lite
    other = next(row for row in rows if row.startswith("weights>keras>tflite:x"))
    assert "2 of 20 10.0 %" in other
    assert "Step 2, keras>tflite:x in tf2onnx-1.17, moves outputs by up to 0.4 %" in other
    static = next(row for row in rows if "static quantisation litert-2" in row)
    assert "by up to 10 % of their range, where static quantisation was asked for." in static
    assert "5 of 20 25.0 % litert-2, keras>tflite, not quantised (unquantised)" in static
    alone = next(row for row in rows if row.startswith("weights>jax"))
    assert "Not compared with its source: step 1, weights>jax." in alone


def test_a_failure_is_short_with_all_of_it_at_hand(tmp_path: Path) -> None:
    section = page(tmp_path)
    (summary, whole) = re.findall(
        "<summary>(model.onnx.*?)</summary><p>(.*?)</p>", section, re.DOTALL
    )[0]
    assert len(summary) < 150
    assert "/some/where" not in summary
    assert html.unescape(whole) == " ".join(LONG.split())
    assert "<b>converted" not in section


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
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(5), logits(5, 3)
    routes = {"torch>tflite": {"quantisation": "dynamic"}, "torch>onnx>savedmodel": {}}
    factory.sweep([convert(factory, inputs, x, r, **columns) for r, columns in routes.items()])
    (view,) = model_views(sweep_result(tmp_path, "sweep-1"))
    torch = dict(view.square)["PyTorch"]
    assert torch[3] == FieldView("works", "works", "no cell runs it as PyTorch, quantised")
    assert torch[2] == FieldView("works", "works", "no cell runs it as PyTorch")


def test_many_routes_leave_the_page_usable(tmp_path: Path) -> None:
    section = page(tmp_path, routes=30)
    assert 'class="card tall"' in section
    text = (tmp_path / "report.html").read_text("utf-8")
    assert len(text) < 400_000
    assert "cells are too many for a square of every two" in text
    assert "Labels changed between every two cells" not in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_has_them_too(tmp_path: Path, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_sweep(swept(tmp_path), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Conversions \u00b7 mobilenet" in text
    assert "The paper's twelve conversions" in text
    assert ("(its source)" in text) == (width == 160)
    assert "moves outputs by up to 10 % of their range, where static quantisation" in text
    assert "0 to 2" in text
    if width == 160:
        assert "not compared \u00b7 0.04 !" in text


def test_markdown_has_them_too(tmp_path: Path) -> None:
    text = as_markdown(swept(tmp_path))
    (row,) = [line for line in text.splitlines() if line.startswith(r"| weights&gt;keras&gt;onnx")]
    assert "failed: model.onnx can't be &lt;b&gt;converted&lt;/b&gt;" in row
    assert "| onnx&gt;torch: failed |" in row.replace("; onnx", "| onnx")
    assert "### Conversions of mobilenet" in text
    assert "| Keras | \u00b7 | failed model.onnx" in text


def test_sweeps_without_conversions_have_no_section(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    factory.sweep([factory.cell(factory.inputs(5), [logits(5, 2)])])
    result = sweep_result(tmp_path, "sweep-1")
    assert (result["conversions"], model_views(result)) == ([], [])
    text = write_report(tmp_path, "sweep-1", tmp_path / "report.html").read_text("utf-8")
    assert "<h2>Conversions</h2>" not in text
    assert "Conversions" not in as_markdown(result)
    # Results of an older harness know of none.
    del result["conversions"]
    assert model_views(result) == []
