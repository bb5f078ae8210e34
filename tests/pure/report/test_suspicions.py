"""Suspicions in words: every reader sees the same, and nothing unescaped."""

from __future__ import annotations

import io
import json

from rich.console import Console

from harness.analysis.suspicions import Suspicion
from harness.report import suspicions

FOUND = Suspicion("bgr", "Swapped <b>", "likely", ("Moved by 3.", "Of a|b."), "Check it.", {"n": 3})
NAMES = {"0123456789": "onnx <i>"}


def test_documents_are_plain_and_carry_the_cells_key() -> None:
    made = suspicions.documents({"0123456789": [FOUND], "other": []})
    assert json.loads(json.dumps(made)) == made
    assert [(d["key"], d["kind"], d["numbers"]) for d in made] == [("0123456789", "bgr", {"n": 3})]


def test_nothing_suspected_is_nothing_shown() -> None:
    assert suspicions.table([], {}) is None
    assert suspicions.markdown([], {}) == []
    assert suspicions.html([], {}) == ""


def test_terminal_markdown_and_page_say_the_same() -> None:
    made = suspicions.documents({"0123456789": [FOUND]})
    stream = io.StringIO()
    Console(file=stream, width=200).print(suspicions.table(made, NAMES))
    lines = "\n".join(suspicions.markdown(made, NAMES))
    page = suspicions.html(made, NAMES)
    for shown in (stream.getvalue(), lines, page):
        for text in ("01234567", "likely", "bgr", "Moved by 3.", "Check it."):
            assert text in shown
    assert "<b>" not in page
    assert "<i>" not in page
    assert "Swapped &lt;b&gt;" in page
    assert "a\\|b" in lines
    assert "\\<b\\>" in lines
