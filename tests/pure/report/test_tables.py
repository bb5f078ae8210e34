"""Results in the terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.store_status import store_status
from harness.analysis.sweep_result import sweep_result
from harness.report.tables import print_status, print_sweep


def console() -> Console:
    return Console(file=io.StringIO(), width=160)


def text(printed: Console) -> str:
    assert isinstance(printed.file, io.StringIO)
    return printed.file.getvalue()


def test_a_sweep_prints_its_verdict_cells_pairs_and_failures(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(20, 4)
    inputs = factory.inputs(20, [0] * 20, excluded=[("[red]bad.png", "cut off")])
    a, b = factory.cell(inputs, [x]), factory.cell(inputs, [flip_first(x, 2)], environment="e-2")
    factory.sweep([a, b], failures=[{"key": "f" * 64, "kind": "timeout", "message": "[bold]slow"}])
    printed = console()
    print_sweep(sweep_result(tmp_path, "sweep-1"), printed)
    lines = text(printed)
    assert lines.startswith("Answers changed: 2 of 20 labels (10.0 %)")
    for phrase in (a[:8], "onnxruntime-1.17", "10.0 %", "[bold]slow", "[red]bad.png: cut off"):
        assert phrase in lines


def test_status_lists_failures_only_of_cells_without_answers(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    done = factory.cell(factory.inputs(20), [logits(20, 4)])
    factory.attempt(done)
    factory.attempt("ab" * 32, "signal", "killed")
    found = store_status(tmp_path)
    assert [f["key"] for f in found["failures"]] == ["ab" * 32]
    assert (found["cells"], found["attempts_failed"]) == (1, 2)
    assert found["size_bytes"]["answers"] > 320
    printed = console()
    print_status(found, printed)
    assert "killed" in text(printed)


def test_status_of_an_empty_store(tmp_path: Path) -> None:
    printed = console()
    print_status(store_status(tmp_path), printed)
    assert "0 cells" in text(printed)


def test_problems_and_unlike_scores_are_told(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(20), logits(20, 4)
    a = factory.cell(inputs, [x])
    b = factory.cell(inputs, [x], model="int8", kind="probabilities")
    factory.sweep([a, b], problems=[{"key": b, "message": "could not be timed"}])
    printed = console()
    print_sweep(sweep_result(tmp_path, "sweep-1"), printed)
    what = f"problem {b[:8]} int8 · onnxruntime-1.17: could not be timed"
    assert what in text(printed)
    assert "not comparable" in text(printed)


def test_a_failed_cell_is_named_as_in_the_tables(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    a = factory.cell(factory.inputs(5), [logits(5, 4)])
    failed = {**factory.cells[a], "key": "f" * 64, "executor": "docker"}
    reason = {"key": "f" * 64, "kind": "timeout", "message": "slow"}
    factory.sweep([a], failed=[failed], failures=[reason])
    printed = console()
    print_sweep(sweep_result(tmp_path, "sweep-1"), printed)
    assert "failed ffffffff onnxruntime-1.17, docker (timeout): slow" in text(printed)
