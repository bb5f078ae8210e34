"""The attached streams of a container: taken apart, and its log kept within bounds."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_HEADER = struct.Struct(">BxxxL")
_STDERR = 2
_CHUNK_BYTES = 1 << 16


class BoundedLog:
    """A log file that never holds more than `most_bytes`: its beginning and its end.

    It is opened once and held, so that nobody who may write to its folder can lead what is
    written to another file.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self.path = path
        self._most = most_bytes
        self._head = most_bytes // 4
        self._keep = most_bytes // 2
        self._size = 0
        self._left_out = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; what lies between the beginning and the newest half is given up when full."""
        data = data[-self._keep :]
        if self._size + len(data) > self._most:
            self._compact()
        self._file.seek(self._size)
        self._file.write(data)
        self._size += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _compact(self) -> None:
        keep = self._keep - self._head
        self._file.seek(self._size - keep)
        newest = self._file.read(keep)
        self._left_out += self._size - keep - self._head
        note = f"\n[… {self._left_out} bytes of this log were left out …]\n".encode()
        self._file.seek(self._head)
        self._file.truncate()
        self._file.write(note + newest)
        self._size = self._head + len(note) + len(newest)


class Streams:
    """Reads an attached connection in a thread: frames of output and log to whoever takes them.

    The thread waits in the kernel while the container says nothing.

    Args:
        attached: what the SDK's `attach_socket` gave; closing it closes the container's
            standard input, and so does the end of this process.
        on_output: takes what came on standard output; called in the thread.
        on_log: takes what came on standard error; called in the thread.
        on_end: called once in the thread, when nothing more can come.
    """

    def __init__(
        self,
        attached: Any,
        on_output: Callable[[bytes], None],
        on_log: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._attached = attached
        # Of a plain connection the SDK gives a file object around the socket.
        self._socket: socket.socket = getattr(attached, "_sock", attached)
        self._socket.settimeout(None)
        self._sinks = (on_output, on_log)
        self._on_end = on_end
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="container streams", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the container: its standard input ends, and the thread too."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        response = getattr(self._attached, "_response", None)
        for held in (response, self._attached, self._socket):
            if held is not None:
                with contextlib.suppress(OSError):
                    held.close()

    def _read(self) -> None:
        try:
            # A connection that breaks ends the streams; why is the engine's to say.
            with contextlib.suppress(OSError):
                while True:
                    header = self._exactly(_HEADER.size)
                    if header is None:
                        return
                    kind, length = _HEADER.unpack(header)
                    while length:
                        data = self._socket.recv(min(length, _CHUNK_BYTES))
                        if not data:
                            return
                        length -= len(data)
                        self._sinks[kind == _STDERR](data)
        finally:
            self.ended.set()
            self._on_end()

    def _exactly(self, size: int) -> bytes | None:
        found = b""
        while len(found) < size:
            data = self._socket.recv(size - len(found))
            if not data:
                return None
            found += data
        return found
