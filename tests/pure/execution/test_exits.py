"""Why a worker ended: each cause has its own kind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.execution.exits import ErrorNote, explain_container_exit, explain_exit, read_error

NOTE = ErrorNote("unsupported", "no such backend", "traceback")


@pytest.mark.parametrize(
    ("status", "oom_killed", "note", "kind", "exit_status", "number"),
    [
        (137, True, None, "out-of-memory", None, 9),
        (0, True, None, "out-of-memory", 0, None),
        (1, True, None, "out-of-memory", 1, None),
        (1, True, ErrorNote("backend", "a child died"), "out-of-memory", 1, None),
        (1, True, ErrorNote("out-of-memory", "bad_alloc"), "out-of-memory", 1, None),
        (137, False, None, "signal", None, 9),
        (139, False, None, "signal", None, 11),
        (134, False, None, "signal", None, 6),
        (0, False, None, "no-result", 0, None),
        (1, False, NOTE, "unsupported", 1, None),
        (3, False, None, "exit", 3, None),
        (127, False, None, "exit", 127, None),
        (255, False, None, "exit", 255, None),
    ],
)
def test_each_end_of_a_container_has_its_kind(
    status: int,
    oom_killed: bool,
    note: ErrorNote | None,
    kind: str,
    exit_status: int | None,
    number: int | None,
) -> None:
    error = explain_container_exit(
        status, oom_killed=oom_killed, memory_mib=512, note=note, log_tail="said"
    )
    assert (error.kind, error.exit_status, error.signal) == (kind, exit_status, number)


def test_out_of_memory_says_the_limit_and_what_the_runner_said() -> None:
    error = explain_container_exit(
        1, oom_killed=True, memory_mib=512, note=ErrorNote("backend", "a child died"), log_tail=""
    )
    assert "512 MiB" in error.message
    assert "a child died" in error.message
    assert "memory" in error.remedy


@pytest.mark.parametrize(("status", "name"), [(137, "SIGKILL"), (139, "SIGSEGV")])
def test_a_signal_is_named(status: int, name: str) -> None:
    error = explain_container_exit(
        status, oom_killed=False, memory_mib=1, note=None, log_tail="last words"
    )
    assert name in error.message
    assert error.detail == "last words"


def test_an_exit_status_comes_with_the_last_words() -> None:
    error = explain_exit(3, None, "first\nlast\n\n")
    assert error.message == "It ended with status 3. Its last words: last"


def test_only_a_plain_file_is_read_as_the_runners_note(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    assert read_error(path) is None
    path.write_text(json.dumps({"kind": "model", "message": "m", "detail": "d"}))
    assert read_error(path) == ErrorNote("model", "m", "d")
    (tmp_path / "link").symlink_to(path)
    assert read_error(tmp_path / "link") is None
    os.mkfifo(tmp_path / "fifo")
    assert read_error(tmp_path / "fifo") is None
    for wrong in ("", "[]", '{"kind": 1}', "[" * 100_000):
        path.write_text(wrong)
        assert read_error(path) is None
