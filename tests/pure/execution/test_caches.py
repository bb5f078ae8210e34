"""Folders for compilations: a cell's own, shared with its A/A control, and gone where empty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.cells import CELL

from harness.errors import ExecutionError
from harness.execution.caches import Caches, compile_cache


def test_a_cell_has_a_folder_of_its_own_that_its_control_shares(tmp_path: Path) -> None:
    folder = compile_cache(tmp_path, CELL)
    assert folder == tmp_path / "caches" / CELL.key[:2] / CELL.key
    assert compile_cache(tmp_path, CELL.again(1)) == folder
    assert compile_cache(tmp_path, replace(CELL, settings={"x": 1})) != folder
    assert compile_cache(tmp_path, replace(CELL, environment_identity="other")) != folder


def test_what_nothing_was_kept_in_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    caches = Caches()
    kept = caches.make(tmp_path / "caches" / "ab" / "abc" / "batch-1")
    caches.make(tmp_path / "caches" / "ab" / "abc" / "batch-2")
    caches.make(tmp_path / "caches" / "cd" / "cde" / "batch-1")
    (kept / "kernel.so").write_bytes(b"1")
    caches.prune()
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "caches",
        "caches/ab",
        "caches/ab/abc",
        "caches/ab/abc/batch-1",
        "caches/ab/abc/batch-1/kernel.so",
    ]


def test_a_folder_that_cannot_be_made_is_a_failure_of_the_cell(tmp_path: Path) -> None:
    (tmp_path / "caches").write_text("a file in its place")
    with pytest.raises(ExecutionError, match="for compilations cannot be made") as caught:
        Caches().make(tmp_path / "caches" / "ab" / "abc")
    assert caught.value.kind == "disk-full"
