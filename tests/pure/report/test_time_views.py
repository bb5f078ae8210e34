"""Times in tables: terminal, Markdown and page say the same."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.timed_sweeps import BUSY, DRIFT, timed_sweep

from harness.analysis.choice import choose
from harness.analysis.comparison import compare_cells
from harness.analysis.gate import parse
from harness.analysis.sweep_result import sweep_result
from harness.report.comparison import print_comparison
from harness.report.html import write_report
from harness.report.markdown import as_markdown
from harness.report.tables import print_sweep
from harness.report.time_views import paper_rows, parts, throughput
from harness.report.verdict import comparison_verdict, verdict


def terminal(root: Path, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_sweep(sweep_result(root, "sweep-1"), console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def markdown(root: Path) -> str:
    return as_markdown(sweep_result(root, "sweep-1")).replace("\\_", "_")


def page(root: Path) -> str:
    text = write_report(root, "sweep-1", root / "report.html").read_text("utf-8")
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(text).replace("\u00a0", " ").split())


EVERYWHERE = (terminal, markdown, page)


@pytest.mark.parametrize("shown", EVERYWHERE)
def test_valid_times_stand_with_their_verdicts(tmp_path: Path, shown: Any) -> None:
    timed_sweep(tmp_path)
    text = shown(tmp_path)
    assert "VALID" in text
    assert "INVALID time" not in text
    assert "Slower: torch-2.13 (1.3" in text
    assert "Faster: litert-2.3 (0.50\u00d7)" in text
    seen = "no difference that this measurement can see (smallest it could: " * (shown is page)
    assert re.search(re.escape(seen or "none seen (") + r"\d\.\d %\)", text)


@pytest.mark.parametrize("shown", EVERYWHERE)
def test_the_reasons_of_an_invalid_time_stand_beside_it(tmp_path: Path, shown: Any) -> None:
    timed_sweep(tmp_path, drifting=2)
    text = shown(tmp_path)
    assert "INVALID: drift" in text
    assert DRIFT["message"] in text
    assert "Slower" not in text
    assert "Times INVALID, so nothing is said of them: torch-2.13" in text
    assert "Faster: litert-2.3" in text


@pytest.mark.parametrize("shown", EVERYWHERE)
def test_an_invalid_session_claims_nothing(tmp_path: Path, shown: Any) -> None:
    timed_sweep(tmp_path, validity={"cells": {}, "session": [BUSY]})
    text = shown(tmp_path)
    assert "INVALID: busy-machine" in text
    assert text.count(f"the whole session: busy-machine: {BUSY['message']}") == 1
    assert "Slower" not in text
    assert "Faster" not in text


@pytest.mark.parametrize("shown", EVERYWHERE)
def test_times_of_before_are_said_not_to_be_judged(tmp_path: Path, shown: Any) -> None:
    timed_sweep(tmp_path, validity=None)
    text = shown(tmp_path)
    assert "not judged" in text
    assert "INVALID:" not in text


@pytest.mark.parametrize("shown", EVERYWHERE)
def test_every_ratio_has_the_floor_that_it_was_judged_by(tmp_path: Path, shown: Any) -> None:
    timed_sweep(tmp_path, floor=0.083)
    text = shown(tmp_path)
    # Three pairs and the control (Markdown has no row for it), and three pairs offline.
    assert text.count("8.3 %") >= (6 if shown is markdown else 7)
    assert "floor" in text


def test_what_could_not_be_judged_is_on_the_page_once(tmp_path: Path) -> None:
    unjudged = ["clocks: a virtual machine shows none"]
    keys = timed_sweep(tmp_path)
    assert "What could not be judged" not in page(tmp_path)
    again = tmp_path / "again"
    cells = {key: {"valid": True, "reasons": []} for key in keys}
    timed_sweep(again, validity={"cells": cells, "session": [], "unjudged": unjudged})
    assert page(again).count(unjudged[0]) == 1
    cell = sweep_result(again, "sweep-1")["cells"][0]
    assert cell["scenarios"]["offline"]["unjudged"] == unjudged


def test_a_narrow_terminal_shows_validity_too(tmp_path: Path) -> None:
    timed_sweep(tmp_path, drifting=2)
    text = terminal(tmp_path, width=80)
    assert "INVALID" in text
    assert "p99" not in text


def test_throughput_is_set_against_the_reference_an_image(tmp_path: Path) -> None:
    keys = timed_sweep(tmp_path)
    result = sweep_result(tmp_path, "sweep-1")
    pairs = [pair for pair in result["pairs"] if pair["a"] == keys[0]]
    rows = {row.key: row for row in throughput(result["cells"], pairs)}
    assert [rows[key].batch for key in keys[:4]] == ["8", "8", "16", "4"]
    assert (rows[keys[0]].ratio, rows[keys[0]].validity) == ("\u2013", "VALID")
    # 30 % longer a call with twice the images; half as long with half of them.
    assert (rows[keys[2]].verdict, rows[keys[2]].ratio) == ("faster", "0.65\u00d7")
    assert rows[keys[3]].verdict.startswith("none seen")
    # 16 images in 20.8 ms.
    assert float(rows[keys[2]].per_second) == pytest.approx(769, rel=0.01)
    assert "Offline" in terminal(tmp_path)
    assert "| offline | batch | images/s |" in markdown(tmp_path)
    assert "Offline: the largest throughput" in page(tmp_path)


def test_parts_memory_and_energy_say_what_is_absent(tmp_path: Path) -> None:
    timed_sweep(tmp_path)
    row = parts(sweep_result(tmp_path, "sweep-1")["cells"])[0]
    assert row.stages == (
        "preparing the batch: 40.0 µs",
        "computing: 1.85 ms",
        "to the device: absent, the CPU reads the batch where it lies",
    )
    assert (row.memory, row.validity) == ("process 123.4 MiB", "VALID")
    assert row.energy == "absent: this machine has no energy counters"
    assert re.fullmatch(r"min \d.*, p50 .*, p95 .*, max .*, std .*; \d+ queries/s", row.latency)
    text = page(tmp_path)
    for said in (*row.stages, row.memory, row.energy):
        assert said in text


def cell(**more: Any) -> dict[str, Any]:
    columns = ("stages", "energy", "peak_rss_mib", "peak_container_mib", "gpu_mib")
    empty = dict.fromkeys((*columns, "latency_p50_ns"))
    return {"key": "k", "scenarios": {"offline": {"valid": True, "reasons": []}}, **empty, **more}


def test_what_was_read_is_shown_with_its_baseline() -> None:
    energy = {"joules_per_query": 0.0312, "power_w": 15.6, "baseline_w": 8, "source": "RAPL"}
    (row,) = parts([cell(energy=energy, peak_container_mib=2048, gpu_mib=512)])
    # `power_w` is all that was drawn; what is drawn at rest is in it.
    assert row.energy == "0.0312 J an image above idle (15.6 W drawn, 8 W of them idle; RAPL)"
    assert row.memory == "container 2.0 GiB, GPU 512.0 MiB"
    (row,) = parts([cell(stages={"median_ns": {}, "absent": {}, "failed": "it died"})])
    assert row.stages == ("could not be measured: it died",)
    assert (row.memory, row.energy) == ("not readable", "not measured")
    assert parts([{**cell(), "scenarios": {}}]) == []


def test_the_papers_measures_say_what_they_divide_by(tmp_path: Path) -> None:
    timed_sweep(tmp_path, drifting=2)
    pairs = [p for p in sweep_result(tmp_path, "sweep-1")["pairs"] if p["agreement"]]
    rows = paper_rows(pairs)
    assert len(rows) == 3
    assert rows[1].validity == "INVALID: drift"
    first, second = rows[1].percentages
    assert re.fullmatch(r"\+(29|30)\.\d % of the reference's mean time", first)
    assert re.fullmatch(r"\+23\.\d % of the slower one's mean time", second)
    assert re.fullmatch(r"1\.000 \(large\)|0\.9\d\d \(large\)", rows[1].a12)
    for text in (markdown(tmp_path), page(tmp_path)):
        assert "Times as the paper gives them" in text
        assert first in text


@pytest.mark.parametrize(
    ("drifting", "rule", "allowed", "headline"),
    [
        (None, "time_ratio > 1.05", False, "Not allowed: time_ratio is 1.3"),
        (None, "time_ratio > 2", True, "Allowed."),
        (2, "time_ratio > 1.05", None, "Cannot tell: time_ratio cannot be told"),
        (2, "time_ratio > 2", None, "Cannot tell: time_ratio cannot be told"),
        (2, "flips > 0", False, "Not allowed: flips is 2 of 40"),
    ],
)
def test_the_gate_neither_passes_nor_fails_on_an_invalid_time(
    tmp_path: Path, drifting: int | None, rule: str, allowed: bool | None, headline: str
) -> None:
    keys = timed_sweep(tmp_path, drifting=drifting)
    found = compare_cells(tmp_path, choose(tmp_path, keys[0], keys[2]), [parse(rule)])
    assert found["allowed"] is allowed
    assert found["undecided"] == (allowed is None)
    said = comparison_verdict(found)
    assert said.headline.startswith(headline)
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_comparison(found, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("cannot tell: " in text) == (allowed is None)
    assert ("INVALID: Its rounds drift" in text) == (drifting is not None)
    assert "time, offline" in text


def test_a_broken_rule_decides_though_another_cannot_be_told(tmp_path: Path) -> None:
    keys = timed_sweep(tmp_path, drifting=2)
    rules = [parse("time_ratio > 9"), parse("flips > 0")]
    found = compare_cells(tmp_path, choose(tmp_path, keys[0], keys[2]), rules)
    assert (found["allowed"], found["undecided"]) == (False, 1)


def test_the_headline_of_a_sweep_tells_of_times(tmp_path: Path) -> None:
    timed_sweep(tmp_path)
    assert "Slower: torch-2.13 (1.3" in verdict(sweep_result(tmp_path, "sweep-1")).detail
