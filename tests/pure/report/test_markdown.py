"""A sweep as Markdown."""

from __future__ import annotations

from pathlib import Path

from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.sweep_result import sweep_result
from harness.report.markdown import as_markdown


def test_one_table_holds_every_cell_and_another_every_label_that_changed(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(20, 4)
    inputs = factory.inputs(20, [0] * 20)
    a, b = factory.cell(inputs, [x]), factory.cell(inputs, [flip_first(x, 2)], environment="e|2")
    factory.sweep([a, b], failures=[{"key": "f" * 64, "kind": "timeout", "message": "<b>slow"}])
    text = as_markdown(sweep_result(tmp_path, "sweep-1"))
    blocks = text.split("\n\n")
    assert blocks[0].startswith("**Answers changed: 2 of 20 labels (10.0 %)")
    cells = next(block for block in blocks if block.startswith("| environment"))
    lines = cells.splitlines()
    assert lines[1].count(":--") == 3
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "| reference |" in lines[2]
    assert lines[3].startswith("| e\\|2 | onnxruntime |")
    assert "| 2 |" in lines[3]
    flips = next(block for block in blocks if block.startswith("| cell | image"))
    assert len(flips.splitlines()) == 2 + 2
    assert "- failed: ffffffff (timeout): &lt;b&gt;slow" in text


def test_a_sweep_without_changes_has_no_second_table(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(6, 3)
    inputs = factory.inputs(6)
    factory.sweep([factory.cell(inputs, [x]), factory.cell(inputs, [x], environment="other")])
    text = as_markdown(sweep_result(tmp_path, "sweep-1"))
    assert "bit-identical" in text
    assert "| cell | image" not in text
