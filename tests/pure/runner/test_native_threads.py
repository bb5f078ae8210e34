"""Threads as the kernel counts them, and where it does not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from runner.support import native_threads


def test_a_thread_more_is_counted() -> None:
    before = native_threads.count()
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    assert native_threads.started_since(before) == 1
    ended.set()
    thread.join()


def test_a_system_without_such_files_is_unknown_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(native_threads, "_TASKS", str(tmp_path / "absent"))
    assert native_threads.count() is None
    assert native_threads.named("any") is None
    assert native_threads.started_since(3) is None
