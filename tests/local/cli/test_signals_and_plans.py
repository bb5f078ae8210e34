"""Interrupted, a sweep says what is kept; a dry run says what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Harness


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_sweep_says_that_it_goes_on_from_there(
    surroundings: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli.main", "sweep"],
        cwd=tmp_path,
        env=surroundings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "Loading" in line or "Timing" in line:
                break
        os.kill(process.pid, number)
        said += process.stderr.read()
    assert process.returncode == 130, said
    assert "Interrupted. What was finished is kept" in said
    assert "Traceback" not in said


def test_a_dry_run_knows_what_is_done(harness: Harness) -> None:
    first = harness("sweep", "--dry-run", "--json", "--no-timing")
    assert first.status == 0, first.err
    assert {c["status"] for c in first.json["cells"]} == {"to run"}
    assert any(job.startswith("build the virtual environment of") for job in first.json["jobs"])
    assert harness("sweep", "--no-timing").status == 0
    again = harness("sweep", "--dry-run", "--json", "--no-timing")
    assert {c["status"] for c in again.json["cells"]} == {"done"}
    assert again.json["jobs"] == []
    words = harness("sweep", "--dry-run", "--no-timing").out
    assert "Nothing is left to do." in words


def test_a_wrong_executor_and_a_wrong_device_are_refused_in_words(harness: Harness) -> None:
    model = ("sweep", "--model", "m.onnx", "--inputs", "x.npy", "--env", "onnxruntime-1.31")
    done = harness(*model, env={"HARNESS_EXECUTOR": "podman"})
    assert done.status == 2
    assert "executor: must be auto, docker, venv, or both" in done.err
    assert "HARNESS_EXECUTOR" in done.err
    done = harness(*model, "--device", "gpu")
    assert done.status == 2
    assert "axes.device[0]: must be cpu, cuda" in done.err


def test_an_engine_that_was_named_and_does_not_answer_is_told(harness: Harness) -> None:
    absent = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "HARNESS_EXECUTOR": "auto"}
    done = harness("sweep", "--no-timing", env=absent)
    assert done.status == 0, done.err
    assert "DOCKER_HOST is set, but no engine can be used" in done.err
    done = harness("sweep", "--no-timing", env={**absent, "HARNESS_EXECUTOR": "docker"})
    assert done.status == 4
    assert "correct or unset it" in done.err
