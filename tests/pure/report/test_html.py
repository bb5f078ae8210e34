"""The report: whole, self-contained, and safe whatever names it shows."""

from __future__ import annotations

import html
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.store_factory import StoreFactory, flip_first, logits

from harness.errors import StoreError
from harness.report.html import ran_facts, write_report

HOSTILE = "<script>alert('1')</script>\"&<img src=x onerror=y>.png"


class Page(HTMLParser):
    """Tags that are open, and every tag and attribute seen."""

    VOID = frozenset({"wbr", "meta", "br", "img", "line", "rect", "circle", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(root: Path) -> str:
    factory = StoreFactory(root)
    x = logits(30, 4)
    names = [HOSTILE, *(f"{i}.png" for i in range(29))]
    labels = [int(c) for c in x.argmax(axis=1)]
    inputs = factory.inputs(
        30, labels, names=names, classes=[HOSTILE, "b", "c", "d"], excluded=[(HOSTILE, HOSTILE)]
    )
    keys = [
        factory.cell(inputs, [x], model=HOSTILE),
        factory.cell(inputs, [flip_first(x, 4)], model=HOSTILE, environment="openvino-2026.4"),
        factory.cell(inputs, [x], model=HOSTILE, environment="e-3", settings={HOSTILE: HOSTILE}),
        factory.cell(inputs, [x], model=HOSTILE, role="control", repeat=1),
        factory.cell(inputs, [flip_first(x, 2)], model="int8"),
    ]
    durations = np.random.default_rng(0).normal(2e6, 1e4, (15, 5)).astype(np.int64)
    factory.session(dict.fromkeys(keys[:4], durations), control=keys[3])
    factory.sweep(
        keys,
        sessions=["session-1"],
        failures=[{"key": "f" * 64, "kind": HOSTILE, "message": HOSTILE}],
        skipped=[{"model": "m", "environment": "e", "backend": "b", "reason": HOSTILE}],
    )
    return write_report(root, "sweep-1", root / "new folder" / "report.html").read_text("utf-8")


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "<script" not in text
    assert "<img" not in text
    assert text.count("&lt;script&gt;") > 10
    found = Page(text)
    assert found.open == []
    assert not {"script", "img", "link", "iframe"} & found.tags
    assert not {"onerror", "onload", "src", "href"} & found.attributes


def test_nothing_is_fetched(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_the_verdict_comes_first_and_everything_is_said(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert text.index("<h1>") < text.index("<table>")
    assert "4 of 30" in text
    for phrase in ("noise floor", "Which images changed", "Left out", "What failed", "What ran"):
        assert phrase in text
    assert "Between models" in text
    assert "numpy 2.1.0" in text
    assert "harness compare --baseline" in text


@pytest.mark.parametrize("scores", [0, None])
def test_small_sweeps_have_a_report_too(tmp_path: Path, scores: int | None) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(5), logits(5, 1)
    kind = "logits" if scores == 0 else "values"
    keys = [
        factory.cell(inputs, [x], environment=f"e-{i}", scores=scores, kind=kind) for i in range(2)
    ]
    factory.sweep(keys)
    factory.sweep([], sweep_id="empty")
    for sweep_id in ("sweep-1", "empty"):
        out = write_report(tmp_path, sweep_id, tmp_path / "report.html")
        assert Page(out.read_text("utf-8")).open == []


@pytest.mark.parametrize("models", [1, 2])
def test_a_timed_model_with_one_cell_has_its_own_repeat_to_show(
    tmp_path: Path, models: int
) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(5), logits(5, 3)
    keys = []
    for number in range(models):
        pair = [
            factory.cell(inputs, [x], model=f"m{number}", role=role, repeat=repeat)
            for repeat, role in enumerate(("cell", "control"))
        ]
        durations = dict.fromkeys(pair, np.full((15, 5), 2_000_000))
        factory.session(durations, control=pair[1], session_id=f"session-{number}")
        keys += pair
    factory.sweep(keys, sessions=[f"session-{n}" for n in range(models)])
    text = write_report(tmp_path, "sweep-1", tmp_path / "report.html").read_text("utf-8")
    assert Page(text).open == []
    assert text.count("<small>A/A control</small>") == models
    assert text.count('class="pill ref"') == models


def test_problems_of_a_sweep_are_told(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(5), [logits(5, 2)])
    factory.sweep([key], problems=[{"key": key, "message": "could not be timed"}])
    text = write_report(tmp_path, "sweep-1", tmp_path / "report.html").read_text("utf-8")
    assert "could not be timed" in text
    assert "Cells that failed" not in text


def test_a_page_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    factory.sweep([factory.cell(factory.inputs(5), [logits(5, 2)])])
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Cannot write"):
        write_report(tmp_path, "sweep-1", tmp_path / "file" / "report.html")


def two_places(root: Path) -> str:
    """The page of one environment in two places, and a third cell that failed."""
    factory = StoreFactory(root)
    inputs, x = factory.inputs(5), logits(5, 3)
    keys = [factory.cell(inputs, [x], environment="e-1", executor=p) for p in ("venv", "docker")]
    broken = {**factory.cells[keys[0]], "key": "f" * 64, "environment": "e-2", "version": "2.0"}
    reason = {"key": "f" * 64, "kind": "timeout", "message": "It took too long."}
    factory.sweep(keys, failed=[broken], failures=[reason])
    return write_report(root, "sweep-1", root / "report.html").read_text("utf-8")


def words_of(part: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", part)).split())


def test_cells_of_one_environment_are_told_apart_in_the_table_of_cells(tmp_path: Path) -> None:
    (table,) = re.findall("<h3>Cells</h3>(.*?)</table>", two_places(tmp_path), re.DOTALL)
    for name in ("e-1, venv", "e-1, docker", "e-2"):
        assert name in words_of(table)


def test_a_failed_cell_is_named_and_listed_under_what_ran(tmp_path: Path) -> None:
    text = two_places(tmp_path)
    (failed,) = re.findall("<h2>What failed</h2>(.*?)</section>", text, re.DOTALL)
    assert "e-2 timeout ffffffffffff It took too long." in words_of(failed)
    (ran,) = re.findall("<h2>What ran</h2>(.*?)</section>", text, re.DOTALL)
    for said in ("e-2 onnxruntime no answers", "e 2.0 executor venv", "timeout It took too long."):
        assert said in words_of(ran)


def test_the_commands_name_the_store_and_the_places(tmp_path: Path) -> None:
    root = tmp_path / "my results"
    (commands,) = re.findall("<pre>(harness.*?)</pre>", two_places(root), re.DOTALL)
    asked, queried = html.unescape(commands).splitlines()
    assert shlex.split(asked)[:6] == [
        *("harness", "compare", "--baseline", "e-1, venv", "--candidate", "e-1, docker")
    ]
    for line in (asked, queried):
        assert shlex.split(line)[-2:] == ["--store", str(root)]


def test_the_usual_store_needs_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--store" not in two_places(Path("results"))


def test_a_sweep_of_one_cell_is_no_alarm(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    factory.sweep([factory.cell(factory.inputs(5), [logits(5, 2)])])
    text = write_report(tmp_path, "sweep-1", tmp_path / "report.html").read_text("utf-8")
    assert 'class="verdict alone"' in text
    assert "Nothing to compare" not in text
    assert "<span>1 cell</span>" in text


def test_long_names_may_be_broken_at_their_joints(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(5), logits(5, 2)
    names = ("image:place/<b>torch:2", "e-1")  # routes may be broken after their `>`, too
    factory.sweep([factory.cell(inputs, [x], environment=name) for name in names])
    text = write_report(tmp_path, "sweep-1", tmp_path / "report.html").read_text("utf-8")
    assert "<span>image:<wbr>place/<wbr>&lt;b&gt;<wbr>torch:<wbr>2</span>" in text
    assert '<span class="nb">e-1</span>' in text
    assert Page(text).open == []


def test_what_ran_is_told_with_its_operators_in_one_line_the_most_first() -> None:
    ran = {
        "backend": "onnxruntime",
        "settings": {"arena": True},
        "operators": {"Gemm (CPU)": 1, "Conv (CPU)": 52},
    }
    assert list(ran_facts(ran)) == [
        ("ran · backend", "onnxruntime"),
        ("ran · settings · arena", "True"),
        ("operators", "52 × Conv (CPU), 1 × Gemm (CPU)"),
    ]
    assert list(ran_facts(None)) == []
