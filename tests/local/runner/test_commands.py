"""A job that brings its commands: done in order, each reply an event, and nobody has to wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from runner.documents import schema

REPOSITORY = Path(__file__).resolve().parents[3]

Run = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def run(tmp_path: Path, pixels: Path) -> Run:
    """Run an infer job of the null backend with commands: its exit status and events.

    Standard input is a pipe that is closed at once, as a container's is under
    `docker compose run` with nothing to read.
    """

    def begin(*commands: dict[str, Any], **null: Any) -> tuple[int, list[dict[str, Any]]]:
        (tmp_path / "null.json").write_text(json.dumps(null))
        job = {
            "schema_version": 1,
            "kind": "infer",
            "work": str(tmp_path),
            "backend": "null",
            "model": {"path": str(tmp_path / "null.json"), "format": "json"},
            "inputs": {"kind": "pixels", "path": str(pixels), "count": 10},
            "commands": list(commands),
        }
        (tmp_path / "job.json").write_text(json.dumps(job))
        done = subprocess.run(
            [sys.executable, "-m", "runner", str(tmp_path / "job.json")],
            env=dict(os.environ, PYTHONPATH=str(REPOSITORY), PYTHONWARNINGS="error"),
            input=b"",
            capture_output=True,
            timeout=60,
            check=False,
        )
        events = [json.loads(line) for line in done.stdout.splitlines()]
        for event in events:
            Draft202012Validator(schema("event")).validate(event)
            if event["event"] == "reply":
                Draft202012Validator(schema("reply")).validate(event["reply"])
        return done.returncode, events

    return begin


WARMUP = {"command": "warmup", "min_iterations": 1, "max_iterations": 3, "max_duration_ns": 10**9}


def replies(events: list[dict[str, Any]]) -> list[tuple[int, str, bool]]:
    return [(e["index"], e["command"], e["reply"]["ok"]) for e in events if e["event"] == "reply"]


def test_commands_are_done_in_order_and_the_job_ends_by_itself(run: Run, tmp_path: Path) -> None:
    status, events = run(
        {"command": "answers"}, WARMUP, {"command": "round", "iterations": 5}, classes=7
    )
    assert status == 0
    assert events[0]["event"] == "loaded"
    assert replies(events) == [(0, "answers", True), (1, "warmup", True), (2, "round", True)]
    assert len(events[-1]["reply"]["durations_ns"]) == 5
    assert np.load(tmp_path / "output_0.npy").shape == (10, 7)


def test_finish_ends_the_job_before_what_comes_after(run: Run) -> None:
    status, events = run({"command": "finish"}, {"command": "answers"})
    assert status == 0
    assert replies(events) == [(0, "finish", True)]


def test_a_command_that_fails_is_the_last_and_the_job_has_failed(run: Run, tmp_path: Path) -> None:
    status, events = run({"command": "answers"}, WARMUP, fault="error", fault_after=3)
    assert status == 1
    assert replies(events) == [(0, "answers", False)]
    assert json.loads((tmp_path / "error.json").read_text())["kind"] == "backend"
