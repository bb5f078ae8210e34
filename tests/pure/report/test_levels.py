"""Levels in the terminal, in Markdown, on the page, and in the verdict."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.levelled_sweeps import levelled_sweep

from harness.analysis.choice import choose
from harness.analysis.comparison import compare_cells
from harness.analysis.sweep_result import sweep_result
from harness.report.comparison import print_comparison
from harness.report.html import write_report
from harness.report.levels import levels_views, moved
from harness.report.markdown import as_markdown
from harness.report.tables import print_sweep
from harness.report.verdict import verdict


@pytest.fixture
def swept(tmp_path: Path) -> tuple[Path, dict[str, str], dict[str, Any]]:
    keys = levelled_sweep(tmp_path)
    return tmp_path, keys, sweep_result(tmp_path, "sweep-1")


Swept = tuple[Path, dict[str, str], dict[str, Any]]


def printed(width: int = 200) -> Console:
    return Console(file=io.StringIO(), width=width)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_verdict_names_what_is_inert_and_calls_none_of_it_faster(swept: Swept) -> None:
    said = verdict(swept[2])
    assert "Inert, same compiled form: e-1 · null: extended (as default)." in said.detail
    faster = re.search(r"Faster: (.*?)\.(?: |$)", said.detail)
    assert faster is None or "e-1, level extended" not in faster[1]
    assert "e-1, level basic (1.30×)" in said.detail.partition("Slower: ")[2]


def test_each_row_says_what_its_level_changes(swept: Swept) -> None:
    _, keys, result = swept
    rows = {row.key: row for view in levels_views(result) for row in view.rows}
    basic = rows[keys["e-1 basic"]]
    assert (basic.name, basic.settings, basic.flips) == ("basic", "offset=1", "2 of 40")
    assert basic.moved == ("BatchNormalization 0 → 10, Conv 0 → 10, FusedConv 10 → 0, Relu 0 → 8")
    assert (basic.memory, basic.cache, basic.code) == ("96.5 MiB", "cold", "4.0 KiB")
    inert = rows[keys["e-1 extended"]]
    assert inert.effect == "inert: changes nothing, same compiled form as default"
    assert (inert.verdict, inert.time_state, inert.largest) == ("inert", "even", "bit-identical")
    varying, hidden = rows[keys["e-2 basic"]], rows[keys["e-2 extended"]]
    assert varying.effect == "same compiled form, other answers: it is not deterministic"
    assert (hidden.effect, hidden.form) == (
        "cannot be told: no compiled form is known",
        "it keeps it to itself",
    )


def test_changes_of_operators_name_the_largest_first_and_count_the_rest() -> None:
    base = {"A": 5, "B": 1, "C": 1, "D": 1, "E": 1, "F": 1}
    assert moved(base, {**base, "A": 0}) == "A 5 → 0"
    assert moved(base, {"Z": 9}) == ("Z 0 → 9, A 5 → 0, B 1 → 0, C 1 → 0, and 3 more kinds")
    assert moved({}, base) == moved(base, base) == ""


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_has_a_table_for_each_backend(swept: Swept, width: int) -> None:
    console = printed(width)
    print_sweep(swept[2], console)
    folded = " ".join(text(console).split())
    assert "Levels · e-1 · null" in folded
    assert "Levels · e-2 · null" in folded
    assert "inert" in folded


def test_markdown_names_what_is_inert(swept: Swept) -> None:
    told = as_markdown(swept[2])
    assert "### Levels and settings" in told
    [row] = [line for line in told.splitlines() if line.startswith("| extended | inert")]
    assert "bit-identical" in row
    heads = next(line for line in told.splitlines() if line.startswith("| level | effect"))
    assert row.count("|") == heads.count("|")


def test_the_page_has_a_section_of_levels_and_no_inert_finding(swept: Swept) -> None:
    store, _, result = swept
    page = write_report(store, "sweep-1", store / "page.html", result).read_text(encoding="utf-8")
    section = page[page.index('<section id="levels">') :]
    section = section[: section.index("</section>")]
    assert section.count('<tr class="group">') == 2
    assert section.count('<span class="pill inert">inert</span>') == 1
    assert "changes nothing, same compiled form as default" in section
    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    inert = [row for row in rows if "pill inert" in row]
    assert len(inert) == 2
    assert not any("faster" in row or "slower" in row for row in inert)


def test_a_comparison_says_that_a_level_changes_nothing(swept: Swept) -> None:
    store, _, _ = swept
    found = compare_cells(store, choose(store, "e-1, level default", "e-1, level extended"))
    console = printed()
    print_comparison(found, console)
    told = text(console)
    assert "Inert: both sides are compiled to the very same program" in told
    assert "default to extended" in told
    assert "what they differ in is inert: it changes nothing" in told
    assert not re.search(r"\b(faster|slower)\b", told)


def test_a_comparison_says_how_the_program_differs_or_that_nobody_knows(swept: Swept) -> None:
    store, _, _ = swept
    told = {}
    for a, b in (("e-1, level default", "e-1, level basic"),) * 1 + (
        ("e-2, level default", "e-2, level basic"),
        ("e-2, level default", "e-2, level extended"),
    ):
        console = printed()
        print_comparison(compare_cells(store, choose(store, a, b)), console)
        told[b] = text(console)
    assert "FusedConv 10 → 0" in told["e-1, level basic"]
    assert "other answers: it is not deterministic" in told["e-2, level basic"]
    assert "cannot be told: it keeps it to itself" in told["e-2, level extended"]
