"""Events go to the real standard output, and progress never waits for a reader."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator

import pytest

from runner.events import Events, encode


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def events_into(end: int) -> Events:
    """An `Events` that writes to a pipe; making a real one would move pytest's own output."""
    events = Events.__new__(Events)
    events._fd = end
    events._lock = threading.Lock()
    return events


def test_an_event_is_one_line_of_json(pipe: tuple[int, int]) -> None:
    events_into(pipe[1]).emit("progress", done=1, total=2)
    line = os.read(pipe[0], 1000)
    assert line.endswith(b"\n")
    assert json.loads(line) == {"event": "progress", "done": 1, "total": 2}


def test_progress_is_dropped_while_nobody_reads(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe[1], b"x" * 4096):
            pass
    os.set_blocking(pipe[1], True)
    events_into(pipe[1]).emit("progress", droppable=True, done=1, total=2)
    os.read(pipe[0], 2**20)
    events_into(pipe[1]).emit("progress", droppable=True, done=2, total=2)
    assert json.loads(os.read(pipe[0], 2**20))["done"] == 2


def test_a_line_is_ascii_and_holds_no_newline_but_its_last() -> None:
    line = encode({"name": "caf\u00e9\n\u2028"})
    assert line.isascii()
    assert line.count(b"\n") == 1


def test_a_value_that_is_no_json_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"value": float("nan")})
