"""A small web server for downloads that break, resume, redirect and lie."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves one body at every path, as it is told to.

    Attributes:
        body: what is served.
        etag: a mark of the version; empty for none.
        failures: statuses to answer before anything else, in order.
        cut_after: bytes after which the connection ends, once for each entry.
        redirect: where `/moved` leads.
        headers: further ones, with every answer.
        requests: (path, headers) of what was asked.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.etag = '"one"'
        self.failures: list[int] = []
        self.cut_after: list[int] = []
        self.redirect = "/file"
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.address = ""


class _Handler(BaseHTTPRequestHandler):
    state: FileServer

    def do_GET(self) -> None:
        state = self.state
        state.requests.append((self.path, dict(self.headers.items())))
        if self.path == "/moved":
            self._answer(302, b"", {"Location": state.redirect, **state.headers})
        elif state.failures:
            self._answer(state.failures.pop(0), b"not now", {})
        else:
            self._file()

    def _file(self) -> None:
        state = self.state
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.headers.get("If-Range") == state.etag else 0
        whole = len(state.body)
        headers = {"ETag": state.etag, **state.headers} if state.etag else dict(state.headers)
        if start >= whole and start:
            self._answer(416, b"", {})
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        self._answer(206 if start else 200, state.body[start:], headers)

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.state.cut_after and status in {200, 206}:
            content = content[: self.state.cut_after.pop(0)]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody listens."""


@contextlib.contextmanager
def serving(body: bytes) -> Iterator[FileServer]:
    """Serve on a free port of this machine while the block runs."""
    state = FileServer(body)

    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
