"""The link to a runner: events on its standard output, commands and replies over its socket."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from harness.errors import ExecutionError

OnEvent = Callable[[Mapping[str, Any]], None]
_CHUNK_BYTES = 1 << 16
_LINE_BYTES = 64 << 20
_LAST_REPLY_S = 5.0
"""How long a reply is waited for once standard output has ended: it may be on its way."""


class Runner(Protocol):
    """What the link needs of the process or container at its other end."""

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""

    def too_slow(self, timeout_s: float | None) -> ExecutionError:
        """Kill it, and the failure of an answer that did not come in time."""

    def ended(self) -> ExecutionError:
        """Why it ended."""


class Link:
    """Speaks with one runner.

    Args:
        runner: who is at the other end; asked when nothing comes any more.
        stdout: the file descriptor that its events are read from.
        socket_path: where it listens, as this side sees it.
    """

    def __init__(self, runner: Runner, stdout: int, socket_path: Path) -> None:
        self._runner = runner
        self._stdout = stdout
        self._socket_path = socket_path
        self._socket: socket.socket | None = None
        self._events = b""
        self._replies = b""

    @property
    def spoken(self) -> bool:
        """Whether a command was ever sent."""
        return self._socket is not None

    def event(self, name: str, timeout_s: float, on_event: OnEvent) -> dict[str, Any]:
        """Wait for the event `name`; others go to `on_event`.

        Raises:
            ExecutionError: the runner ended without it, or took too long (it is killed then).
        """
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self._read_events(deadline, timeout_s):
                if event.get("event") == name:
                    return event
                on_event(event)

    def command(
        self, document: Mapping[str, Any], timeout_s: float, on_event: OnEvent
    ) -> dict[str, Any]:
        """Send one command and return the reply.

        Raises:
            ExecutionError: the command failed (the runner lives on), or the runner ended, or took
                too long (it is killed then).
        """
        deadline = time.monotonic() + timeout_s
        link = self._connected()
        try:
            link.sendall(json.dumps(document).encode() + b"\n")
        except OSError:
            raise self._runner.ended() from None
        reply = self._reply(link, deadline, timeout_s, on_event)
        if not reply.get("ok"):
            error = reply.get("error", {})
            raise ExecutionError(
                str(error.get("kind", "backend")),
                str(error.get("message", "the worker gave no reason")),
                detail=str(error.get("detail", "")),
            )
        return reply

    def say(self, document: Mapping[str, Any]) -> None:
        """Send a command that nobody waits for, if anyone is there to hear it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(json.dumps(document).encode() + b"\n", socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close the socket; standard output belongs to whoever opened it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                # A runner can put a link in its socket's place, to any socket of this machine.
                found = os.open(self._socket_path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    link.connect(f"/proc/self/fd/{found}")
                finally:
                    os.close(found)
            except OSError:
                link.close()
                raise self._runner.ended() from None
            self._socket = link
        return self._socket

    def _reply(
        self, link: socket.socket, deadline: float, timeout_s: float, on_event: OnEvent
    ) -> dict[str, Any]:
        with selectors.DefaultSelector() as ready:
            ready.register(link, selectors.EVENT_READ)
            ready.register(self._stdout, selectors.EVENT_READ)
            stdout_ended = False
            while b"\n" not in self._replies:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._runner.ended() if stdout_ended else self._runner.too_slow(timeout_s)
                for chosen, _ in ready.select(left):
                    if chosen.fileobj is link:
                        self._replies += self._received(link)
                    else:
                        chunk = os.read(self._stdout, _CHUNK_BYTES)
                        if not chunk:
                            # It ended; or the engine is gone, and nobody could end it any more.
                            ready.unregister(self._stdout)
                            stdout_ended = True
                            deadline = min(deadline, time.monotonic() + _LAST_REPLY_S)
                        for event in self._whole_events(chunk):
                            on_event(event)
                self._check_length(self._replies)
        line, _, self._replies = self._replies.partition(b"\n")
        return self._parsed(line)

    def _received(self, link: socket.socket) -> bytes:
        try:
            chunk = link.recv(_CHUNK_BYTES)
        except OSError:
            chunk = b""
        if not chunk:
            raise self._runner.ended()
        return chunk

    def _read_events(self, deadline: float, timeout_s: float) -> list[dict[str, Any]]:
        """The events of one read from standard output."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._stdout, selectors.EVENT_READ)
            if not ready.select(max(0.0, deadline - time.monotonic())):
                raise self._runner.too_slow(timeout_s)
        chunk = os.read(self._stdout, _CHUNK_BYTES)
        if not chunk:
            raise self._runner.ended()
        return self._whole_events(chunk)

    def _whole_events(self, chunk: bytes) -> list[dict[str, Any]]:
        *lines, self._events = (self._events + chunk).split(b"\n")
        self._check_length(self._events)
        return [self._parsed(line) for line in lines if line.strip()]

    def _check_length(self, unfinished: bytes) -> None:
        if len(unfinished) > _LINE_BYTES:
            self._runner.kill()
            raise ExecutionError("invalid-output", "The worker's message never ends.")

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self._runner.kill()
            raise ExecutionError(
                "invalid-output", f"The worker wrote something that is no message: {line[:200]!r}."
            )
        return document
