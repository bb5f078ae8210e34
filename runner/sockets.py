"""A Unix socket that is listened on, and the lines that come and go over it."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, Dict, Iterator

from runner.errors import RunnerError, as_document
from runner.events import encode

_LINE_BYTES = 1024**2


@contextlib.contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """A listening socket at `path`, which is removed afterwards."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(path)
            # In a container this may be another user than who connects; its folder is private.
            os.chmod(path, 0o666)  # noqa: S103
            listener.listen(1)
        except OSError as error:
            raise RunnerError("job", f"the socket {path} can't be made: {error}") from error
        try:
            yield listener
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def lines(connection: socket.socket) -> Iterator[bytes]:
    """The lines that come; it blocks between them, and ends with the connection."""
    pending = b""
    while True:
        try:
            received = connection.recv(65536)
        except ConnectionError:
            return
        if not received:
            return
        pending += received
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            yield line
        if len(pending) > _LINE_BYTES:
            error = RunnerError("job", "a command is longer than 1 MiB")
            send(connection, {"ok": False, "error": as_document(error)})
            return


def send(connection: socket.socket, reply: Dict[str, Any]) -> bool:
    """Whether the reply could be sent; a client that went away may come back."""
    try:
        connection.sendall(encode(reply))
    except ConnectionError:
        return False
    return True
