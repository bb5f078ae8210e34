"""Conversions on the page, in the terminal and in Markdown."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from support.converted_cells import LONG, convert, swept
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.sweep_result import sweep_result
from harness.report.conversions import LEAD, model_views
from harness.report.html import write_report
from harness.report.markdown import as_markdown
from harness.report.tables import print_sweep


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
    assert "0 of 20 keras-3 (its source; other environment, backend) 1.000 \u2192 1.000" in lite
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
    assert ("(its source; other environment, backend)" in " ".join(text.split())) == (width == 160)
    assert "moves outputs by up to 10 % of their range, where static quantisation" in text
    assert "0 to 2" in text
    if width == 160:
        assert "not compared \u00b7 0.04 !" in text


def test_names_of_models_are_no_markup(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(5), logits(5, 3)
    keys = [
        convert(factory, inputs, x, route, model=model)
        for model in ("net[v2]", "net[/x]")
        for route in ("torch", "torch>tflite")
    ]
    factory.sweep(keys)
    console = Console(width=200, file=io.StringIO(), color_system=None)
    print_sweep(sweep_result(tmp_path, "sweep-1"), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for model in ("net[v2]", "net[/x]"):
        assert f"Cells \u00b7 {model}" in text
        assert f"Conversions \u00b7 {model}" in text


def test_a_threshold_is_called_one(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(5), logits(5, 3)
    source = convert(factory, inputs, x, "torch", environment="e-1")
    moved = convert(factory, inputs, flip_first(x, 1), "torch>onnx", (2e-4,))
    unknown = convert(factory, inputs, flip_first(x, 1), "torch>onnx:x", (None,))
    factory.sweep([source, moved, unknown])
    (view,) = model_views(sweep_result(tmp_path, "sweep-1"))
    blame = {row.key: row.blame for row in view.rows}
    assert blame[moved].startswith("Step 1, torch>onnx in tf2onnx-1.17, moves outputs by no more")
    assert "0.02 % of their range (the threshold is 0.1 %)" in blame[moved]
    assert "the threshold of 0.1 %. Not compared with its source: step 1" in blame[unknown]
    assert "0.1 % of the range of its outputs" in LEAD


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
