"""Keeping what a backend compiled: what there is, what there is not, and what fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner import ir_files
from runner.errors import RunnerError
from runner.jobs import InferJob, read_job


class Plain:
    """A backend with nothing to show."""


class Shown:
    """A backend that writes two files, and perhaps fails then."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    def keep_ir(self, folder: str) -> None:
        ir_files.write_text(folder, "graph.txt", "graph")
        (Path(folder) / "below").mkdir()
        ir_files.write_bytes(f"{folder}/below", "code.bin", b"\x00\x01")
        if self._failure is not None:
            raise self._failure


def test_a_backend_without_keep_ir_leaves_nothing(tmp_path: Path) -> None:
    assert ir_files.keep(Plain(), str(tmp_path / "ir")) == []
    assert not (tmp_path / "ir").exists()


def test_files_are_named_relative_to_the_folder_and_old_ones_are_gone(tmp_path: Path) -> None:
    (tmp_path / "ir").mkdir()
    (tmp_path / "ir" / "old.txt").write_text("of a run before")
    assert ir_files.keep(Shown(), str(tmp_path / "ir")) == ["below/code.bin", "graph.txt"]
    assert not (tmp_path / "ir" / "old.txt").exists()
    assert (tmp_path / "ir" / "below" / "code.bin").read_bytes() == b"\x00\x01"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (RunnerError("unsupported", "an engine is no text"), "unsupported: an engine is no text"),
        (ValueError("odd"), "backend: ValueError: odd"),
    ],
)
def test_a_backend_that_fails_at_it_says_why_and_goes_on(
    tmp_path: Path, failure: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ir_files.keep(Shown(failure), str(tmp_path / "ir"))
    assert files == ["below/code.bin", "graph.txt", "not-kept.txt"]
    assert (tmp_path / "ir" / "not-kept.txt").read_text() == said + "\n"
    assert "can't be kept" in capsys.readouterr().out


def test_copied_sources_keep_their_place_and_links_stay_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "ab").mkdir(parents=True)
    (source / "ab" / "k.cpp").write_text("int x;")
    (source / "ab" / "k.bin").write_text("weights")
    (source / "link.cpp").symlink_to(source / "ab" / "k.cpp")
    ir_files.copy_sources(str(source), str(tmp_path / "to"), (".cpp", ".so"))
    assert ir_files.files_below(str(tmp_path / "to")) == ["ab/k.cpp"]


def infer(**changes: Any) -> str:
    """An infer job's document."""
    document = {
        "schema_version": 1,
        "kind": "infer",
        "work": "/w",
        "backend": "null",
        "model": {"path": "m", "format": "json"},
        "inputs": {"kind": "array", "path": "x.npy", "count": 1},
        "socket": "/tmp/s",
        **changes,
    }
    return json.dumps(document)


def test_a_job_asks_for_it_or_does_not() -> None:
    asked, silent = read_job(infer(keep_ir=True)), read_job(infer())
    assert isinstance(asked, InferJob)
    assert isinstance(silent, InferJob)
    assert (asked.keep_ir, silent.keep_ir) == (True, False)
    with pytest.raises(RunnerError, match=r"job\.keep_ir"):
        read_job(infer(keep_ir="yes"))
