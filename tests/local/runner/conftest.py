"""A real worker process with the null backend, spoken to as the orchestrator speaks to it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

REPOSITORY = Path(__file__).resolve().parents[3]
_TIMEOUT_S = 120


def valid(name: str, document: dict[str, Any]) -> None:
    """Raise where a document is not what its JSON Schema says."""
    schema = json.loads((REPOSITORY / "runner" / "schemas" / f"{name}.json").read_text())
    Draft202012Validator(schema).validate(document)


class Running:
    """A runner process: its events, its socket, its end."""

    def __init__(self, job: dict[str, Any], python: str = sys.executable) -> None:
        self.job = job
        self.work = Path(job["work"])
        document = self.work / "job.json"
        document.write_text(json.dumps(job))
        environment = dict(os.environ, PYTHONPATH=str(REPOSITORY), PYTHONWARNINGS="error")
        self._log = (self.work / "log.txt").open("w")
        self.process = subprocess.Popen(
            [python, "-m", "runner", str(document)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=self.work,
        )
        self._client: socket.socket | None = None

    def event(self) -> dict[str, Any] | None:
        """The next event, or None at the end of standard output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return None
        event: dict[str, Any] = json.loads(line)
        valid("event", event)
        return event

    def connect(self) -> None:
        """Connect (again) to the worker's socket."""
        if self._client is not None:
            self._client.close()
        self._client = socket.socket(socket.AF_UNIX)
        self._client.settimeout(_TIMEOUT_S)
        self._client.connect(self.job["socket"])
        self._replies = self._client.makefile("rb")

    def send(self, line: bytes) -> dict[str, Any] | None:
        """Send one line as it is; the reply, or None if the worker went away."""
        if self._client is None:
            self.connect()
        assert self._client is not None
        try:
            self._client.sendall(line + b"\n")
            answer = self._replies.readline()
        except ConnectionError:
            return None
        if not answer:
            return None
        reply: dict[str, Any] = json.loads(answer)
        valid("reply", reply)
        return reply

    def command(self, name: str, **fields: Any) -> dict[str, Any] | None:
        """Send a command; its reply."""
        command = {"command": name, **fields}
        valid("command", command)
        return self.send(json.dumps(command).encode())

    def wait(self) -> int:
        """The exit status, once the process has ended by itself."""
        return self.process.wait(timeout=_TIMEOUT_S)

    def error(self) -> dict[str, Any] | None:
        """What `error.json` says, if there is one."""
        path = self.work / "error.json"
        if not path.exists():
            return None
        error: dict[str, Any] = json.loads(path.read_text())
        valid("error", error)
        return error

    def output(self, index: int = 0) -> np.ndarray:
        """A written output."""
        return np.load(self.work / f"output_{index}.npy", allow_pickle=False)

    def log(self) -> str:
        """What it wrote on standard error."""
        return (self.work / "log.txt").read_text()

    def end(self) -> None:
        """Close everything, and kill the process if it is still there."""
        if self._client is not None:
            self._replies.close()
            self._client.close()
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            assert stream is not None
            stream.close()
        self.process.wait()


Start = Callable[..., Running]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: a socket's may hold 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="hr", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    """Ten seeded pictures: uint8 [10, 8, 8, 3]."""
    generator = np.random.Generator(np.random.PCG64(7))
    path = tmp_path / "pixels.npy"
    np.save(path, generator.integers(0, 256, size=(10, 8, 8, 3), dtype=np.uint8))
    return path


@pytest.fixture
def start(short: Path, pixels: Path) -> Iterator[Start]:
    """Start an infer job of the null backend: `start({...}, **changes to the job)`."""
    started: list[Running] = []

    def begin(
        null: dict[str, Any] | None = None, python: str = sys.executable, **changes: Any
    ) -> Running:
        work = short / f"w{len(started)}"
        work.mkdir()
        path = work / "null.json"
        path.write_text(json.dumps(null or {}))
        job = {
            "schema_version": 1,
            "kind": "infer",
            "work": str(work),
            "backend": "null",
            "settings": {},
            "model": {"path": str(path), "format": "json"},
            "precision": "f32",
            "device": "cpu",
            "threads": 1,
            "batch": 1,
            "inputs": {
                "kind": "pixels",
                "path": str(pixels),
                "count": 10,
                "normalise": None,
                "layout": "NHWC",
                "raw_quantised": False,
            },
            "socket": str(work / "s"),
        }
        job.update(changes)
        started.append(Running(job, python))
        return started[-1]

    yield begin
    for running in started:
        running.end()
