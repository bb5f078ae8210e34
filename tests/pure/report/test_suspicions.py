"""Suspicions in words: every reader sees the same, and nothing unescaped."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from support.store_factory import StoreFactory, logits

from harness.analysis.suspicions import Suspicion
from harness.analysis.sweep_result import sweep_result
from harness.report import suspicions
from harness.report.html import render

FOUND = Suspicion("bgr", "Swapped <b>", "likely", ("Moved by 3.", "Of a|b."), "Check it.", {"n": 3})


def test_nothing_suspected_is_nothing_shown() -> None:
    assert suspicions.table([], {}) is None
    assert suspicions.markdown([], {}) == []


def test_terminal_markdown_and_page_say_the_same(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(6), [logits(6, 4)], environment="onnx <i>")
    factory.sweep([key])
    made = [{"key": key, **FOUND.document()}]
    names, stream = {key: "onnx <i>"}, io.StringIO()
    Console(file=stream, width=200).print(suspicions.table(made, names))
    lines = "\n".join(suspicions.markdown(made, names))
    result = {**sweep_result(tmp_path, "sweep-1"), "suspicions": made}
    page = render(result, {}, [], tmp_path)
    for shown in (stream.getvalue(), lines, page):
        for text in (key[:8], "likely", "bgr", "Moved by 3.", "Check it."):
            assert text in shown
    assert "What looks wrong" in page
    assert "Swapped <b>" not in page
    assert "<i>" not in page
    assert "Swapped &lt;b&gt;" in page
    assert "a\\|b" in lines
    assert "\\<b\\>" in lines


def test_what_is_suspected_of_many_cells_in_the_same_words_is_said_once(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(6)
    keys = [factory.cell(inputs, [logits(6, 4)], environment=f"onnx-{n}") for n in range(3)]
    factory.sweep(keys)
    other = {**FOUND.document(), "evidence": ["Moved by 9."]}
    made = [
        {"key": keys[0], **FOUND.document()},
        {"key": keys[1], **other},
        {"key": keys[2], **FOUND.document()},
    ]
    assert [one.keys for one in suspicions.gathered(made)] == [(keys[0], keys[2]), (keys[1],)]
    names, stream = {key: f"onnx-{n}" for n, key in enumerate(keys)}, io.StringIO()
    Console(file=stream, width=300).print(suspicions.table(made, names))
    lines = "\n".join(suspicions.markdown(made, names))
    page = render({**sweep_result(tmp_path, "sweep-1"), "suspicions": made}, {}, [], tmp_path)
    for shown in (stream.getvalue(), lines, page):
        assert shown.count("Moved by 3.") == 1
        assert shown.count("Moved by 9.") == 1
        assert "and 1 other cell" in shown
    assert "All 2 cells</summary>" in page
    for name in names.values():
        assert name in page
