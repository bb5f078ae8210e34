"""Asks an installed environment what it holds, by a probe job of the runner."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.canonical import storage_errors
from harness.environments.uv import redact
from harness.errors import ProvisionError
from harness.paths import runner_tree

_PROBE_SECONDS = 300
_TAIL_LINES = 8


def probe(name: str, python: Path, backends: Sequence[str]) -> dict[str, Any]:
    """Run a probe job with `python` and give its event.

    Raises:
        ProvisionError: the runner failed or did not answer, or a backend does not work.
    """
    parent, _ = runner_tree()
    with (
        storage_errors(Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="harness-probe-") as folder,
    ):
        job = Path(folder) / "job.json"
        document = {
            "schema_version": 1,
            "kind": "probe",
            "work": folder,
            "backends": list(backends),
        }
        job.write_text(json.dumps(document), encoding="utf-8")
        # The open pipe on its standard input tells the runner that somebody still waits.
        try:
            process = subprocess.Popen(
                [str(python), "-m", "runner", str(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                cwd=folder,
                env=probe_environment(os.environ, parent),
            )
        except OSError as error:
            raise ProvisionError(
                f"The Python of environment {name} does not start: {error.strerror}.",
                f"Remove it with `harness env remove {name}` and try again.",
            ) from error
        try:
            output, log = _collect(process)
        except subprocess.TimeoutExpired as error:
            raise ProvisionError(
                f"Environment {name} did not answer a probe within {_PROBE_SECONDS} s.",
                f"Remove it with `harness env remove {name}` and try again.",
            ) from error
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        failure = _failure(Path(folder) / "error.json")
    if process.returncode != 0:
        reason = failure or _tail(log) or f"exit status {process.returncode}"
        raise ProvisionError(f"Environment {name} was installed but does not start: {reason}")
    return check_probe(name, parse_events(output), backends)


def probe_environment(given: Mapping[str, str], runner_parent: Path) -> dict[str, str]:
    """The environment variables of a probe: nothing of the caller's own Python leaks in."""
    kept = {
        name: value
        for name, value in given.items()
        if name not in {"PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV"}
    }
    kept["PYTHONPATH"] = str(runner_parent)
    kept["PYTHONNOUSERSITE"] = "1"
    return kept


def parse_events(output: str) -> list[dict[str, Any]]:
    """The runner's events: the lines of its standard output that are JSON objects."""
    events = []
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def check_probe(
    name: str, events: Sequence[dict[str, Any]], backends: Sequence[str]
) -> dict[str, Any]:
    """The probe event, once every backend declared by the environment is found to work.

    Raises:
        ProvisionError: there is no probe event, or a backend is missing or broken.
    """
    event = next((item for item in events if item.get("event") == "probe"), None)
    if event is None:
        raise ProvisionError(f"Environment {name} gave no answer to a probe.")
    answers = event.get("backends", {})
    for backend in backends:
        answer = answers.get(backend, {})
        if not answer.get("ok"):
            detail = answer.get("detail") or "the runner does not know it"
            raise ProvisionError(
                f"Environment {name} was installed, but its backend {backend} does not work: "
                f"{redact(str(detail))}",
                "Check that its locked packages support this machine.",
            )
    return event


def _collect(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Both outputs of a process whose standard input stays open until it ends.

    `communicate` would close the input at once, which the runner takes for a dead parent.
    """
    held = process.stdin
    process.stdin = None
    try:
        return process.communicate(timeout=_PROBE_SECONDS)
    finally:
        if held is not None:
            held.close()


def _failure(path: Path) -> str:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return redact(str(document.get("message", "")))


def _tail(log: str) -> str:
    return redact("\n".join(log.strip().splitlines()[-_TAIL_LINES:]))
