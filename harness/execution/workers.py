"""Workers: a runner process that stays loaded and takes commands over a Unix socket."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.errors import ExecutionError
from harness.execution.attempts import tail

OnEvent = Callable[[Mapping[str, Any]], None]
_KILL_WAIT_S = 10.0
_LINE_BYTES = 64 << 20
_DETAIL_BYTES = 4000


class Worker(Protocol):
    """A loaded model somewhere: a process here, a container elsewhere."""

    def event(self, name: str, timeout_s: float, on_event: OnEvent) -> dict[str, Any]:
        """Wait for an event of this name; others go to `on_event`."""

    def command(
        self, document: Mapping[str, Any], timeout_s: float, on_event: OnEvent
    ) -> dict[str, Any]:
        """Send a command and wait for its reply."""

    def close(self) -> None:
        """Ask it to finish, and make sure that it is gone."""

    def kill(self) -> None:
        """End it at once, with everything it started, and wait until it is gone."""


class ProcessWorker:
    """A worker that is a process of its own in a virtual environment.

    Args:
        python: the environment's interpreter.
        runner: the folder that holds the package `runner`.
        job: the job document; `work` and (for `infer`) `socket` are added here.
        work: the worker's own folder: outputs, log, home.
        socket_path: where it listens; a socket's path holds 107 bytes, so a short one.
        cores: the cores that it may run on; None: all.
    """

    def __init__(
        self,
        python: Path,
        runner: Path,
        job: Mapping[str, Any],
        work: Path,
        socket_path: Path,
        cores: Sequence[int] | None = None,
    ) -> None:
        (work / "home").mkdir(parents=True, exist_ok=True)
        (work / "tmp").mkdir(exist_ok=True)
        self.work = work
        self.log = work / "log.txt"
        document = {**job, "work": str(work), "parent_death_signal": True}
        self._socket_path = socket_path
        if job["kind"] == "infer":
            document["socket"] = str(socket_path)
        path = work / "job.json"
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
        with self.log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    [str(python), "-m", "runner", str(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=work,
                    env=_clean_environment(work, runner),
                    start_new_session=True,
                )
            except OSError as error:
                raise ExecutionError(
                    "environment",
                    f"Cannot start {python}: {error.strerror}.",
                    "Build the environment again: `harness env remove`, then `harness env build`.",
                ) from error
        if cores and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self._process.pid, cores)
        self._socket: socket.socket | None = None
        self._events = b""
        self._replies = b""

    @property
    def pid(self) -> int:
        """The process's number, which is its group's too."""
        return self._process.pid

    def event(self, name: str, timeout_s: float, on_event: OnEvent) -> dict[str, Any]:
        """Wait for the event `name` on standard output; others go to `on_event`.

        Raises:
            ExecutionError: it ended without it, or took too long (it is killed then).
        """
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self._read_events(deadline):
                if event.get("event") == name:
                    return event
                on_event(event)

    def command(
        self, document: Mapping[str, Any], timeout_s: float, on_event: OnEvent
    ) -> dict[str, Any]:
        """Send one command and return the reply.

        Raises:
            ExecutionError: the command failed (the worker lives on), or the worker ended, or
                took too long (it is killed then).
        """
        deadline = time.monotonic() + timeout_s
        link = self._connected()
        try:
            link.sendall(json.dumps(document).encode() + b"\n")
        except OSError:
            raise self._ended() from None
        reply = self._reply(link, deadline, timeout_s, on_event)
        if not reply.get("ok"):
            error = reply.get("error", {})
            raise ExecutionError(
                str(error.get("kind", "backend")),
                str(error.get("message", "the worker gave no reason")),
                detail=str(error.get("detail", "")),
            )
        return reply

    def close(self) -> None:
        """Ask it to finish; kill it if it does not."""
        if self._process.poll() is None and self._socket is not None:
            with contextlib.suppress(ExecutionError, OSError):
                self.command({"command": "finish"}, _KILL_WAIT_S, lambda _: None)
                self._process.wait(_KILL_WAIT_S)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        self.kill()

    def kill(self) -> None:
        """End the process and all that it started, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.connect(str(self._socket_path))
            except OSError:
                link.close()
                raise self._ended() from None
            self._socket = link
        return self._socket

    def _reply(
        self, link: socket.socket, deadline: float, timeout_s: float, on_event: OnEvent
    ) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with selectors.DefaultSelector() as ready:
            ready.register(link, selectors.EVENT_READ)
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._replies:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._too_slow(timeout_s)
                for chosen, _ in ready.select(left):
                    if chosen.fileobj is link:
                        try:
                            chunk = link.recv(1 << 16)
                        except OSError:
                            chunk = b""
                        if not chunk:
                            raise self._ended()
                        self._replies += chunk
                    else:
                        chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                        if not chunk:
                            ready.unregister(self._process.stdout)
                        self._events += chunk
                        for event in self._whole_events():
                            on_event(event)
                if len(self._replies) > _LINE_BYTES:
                    self.kill()
                    raise ExecutionError("invalid-output", "The worker's reply never ends.")
        line, _, self._replies = self._replies.partition(b"\n")
        return self._parsed(line)

    def _read_events(self, deadline: float) -> list[dict[str, Any]]:
        """The events of one read from standard output."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(max(0.0, deadline - time.monotonic())):
                raise self._too_slow(None)
        chunk = os.read(self._process.stdout.fileno(), 1 << 16)
        if not chunk:
            raise self._ended()
        self._events += chunk
        return self._whole_events()

    def _whole_events(self) -> list[dict[str, Any]]:
        *lines, self._events = self._events.split(b"\n")
        return [self._parsed(line) for line in lines if line.strip()]

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            self.kill()
            raise ExecutionError(
                "invalid-output", f"The worker wrote something that is no message: {line[:200]!r}."
            )
        return document

    def _too_slow(self, timeout_s: float | None) -> ExecutionError:
        self.kill()
        after = f" after {timeout_s:g} s" if timeout_s else ""
        return ExecutionError(
            "timeout",
            f"No answer{after}; it was stopped.",
            "Allow more with --timeout, or use fewer images with --limit.",
            tail(self.log, _DETAIL_BYTES),
        )

    def _ended(self) -> ExecutionError:
        """Why the process ended, in the terms of an attempt."""
        try:
            status = self._process.wait(_KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return ExecutionError(
                "exit", "It closed its connection without a result.", detail=tail(self.log, 4000)
            )
        return explain_exit(status, self.work / "error.json", tail(self.log, _DETAIL_BYTES))


def explain_exit(status: int, error_file: Path, log_tail: str) -> ExecutionError:
    """Why a worker ended, from its exit status and what it left behind."""
    try:
        error = json.loads(error_file.read_text(encoding="utf-8"))
        found = ExecutionError(
            str(error["kind"]), str(error["message"]), detail=str(error.get("detail", ""))
        )
    except (OSError, ValueError, KeyError, TypeError):
        if status < 0:
            name = _signal_name(-status)
            hint = " Often that is the system running out of memory." if name == "SIGKILL" else ""
            found = ExecutionError("signal", f"It was ended by {name}.{hint}", detail=log_tail)
        elif status == 0:
            found = ExecutionError("no-result", "It ended well but left no result.", "", log_tail)
        else:
            last = next((x for x in reversed(log_tail.splitlines()) if x.strip()), "")
            said = f" Its last words: {last.strip()}" if last else ""
            found = ExecutionError("exit", f"It ended with status {status}.{said}", "", log_tail)
    found.exit_status = status if status >= 0 else None
    found.signal = -status if status < 0 else None
    return found


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _clean_environment(work: Path, runner: Path) -> dict[str, str]:
    """The environment of a worker: what it needs, and nothing that could change an answer."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(work / "home"),
        "LANG": "C.UTF-8",
        "TMPDIR": str(work / "tmp"),
        "PYTHONPATH": str(runner),
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
    }
