"""This machine: the conductor is a child process, results are where they were asked for."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.execution.documents import GroupDocument
from harness.execution.executors.base import Poll


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    results: Path
    rest: bytes = b""


class LocalExecutor:
    """Runs groups here, one conductor a group."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Running] = {}

    def submit(self, group: GroupDocument) -> str:
        """Start a conductor for the group."""
        group.results.mkdir(parents=True)
        document = group.results / "group.json"
        document.write_text(group.model_dump_json(indent=2), encoding="utf-8")
        name = str(group.results)
        with (group.results / "conductor.log").open("wb") as log:
            process = subprocess.Popen(
                # -P: a folder `harness` where the person happens to be is not ours.
                [sys.executable, "-P", "-m", "harness.execution.conductor", str(document)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._jobs[name] = _Running(process, group.results)
        return name

    def poll(self, name: str, timeout_s: float) -> Poll:
        """Wait up to `timeout_s` for events."""
        job = self._jobs[name]
        assert job.process.stdout is not None  # noqa: S101 - a pipe was asked for
        with selectors.DefaultSelector() as ready:
            ready.register(job.process.stdout, selectors.EVENT_READ)
            if not ready.select(timeout_s):
                return Poll((), running=True)
        chunk = os.read(job.process.stdout.fileno(), 1 << 16)
        if not chunk:
            status = job.process.wait()
            self._release(job)
            return Poll((), running=False, exit_status=status)
        *lines, job.rest = (job.rest + chunk).split(b"\n")
        events: list[Mapping[str, Any]] = [json.loads(line) for line in lines]
        return Poll(tuple(events), running=True)

    def cancel(self, name: str) -> None:
        """Close the conductor's standard input: it ends its workers and itself."""
        job = self._jobs[name]
        self._release(job)
        try:
            job.process.wait(10)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.process.pid, signal.SIGKILL)
            job.process.wait()

    def fetch(self, name: str) -> Path:
        """Nothing to bring: the results are here."""
        return self._jobs[name].results

    @staticmethod
    def _release(job: _Running) -> None:
        for stream in (job.process.stdin, job.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
