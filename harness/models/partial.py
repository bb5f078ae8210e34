"""A file that is still being downloaded: what has come so far, and of which version of it."""

from __future__ import annotations

import json
import os
from email.message import Message
from pathlib import Path
from typing import IO

from harness.canonical import write_json


class Partial:
    """The part of a file that has come, beside the file, with a note of what it is a part of."""

    def __init__(self, target: Path, url: str) -> None:
        self._target = target
        self._url = url
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that have come."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def range_headers(self) -> dict[str, str]:
        """What asks for the rest; empty where there is nothing to go on from.

        Without a mark of the version (`ETag` or the date) the rest could be of another file.
        """
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        mark = note.get("version") if isinstance(note, dict) else None
        if not self.size or not mark or note.get("url") != self._url:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": mark}

    def open(self, start: int, headers: Message) -> IO[bytes]:
        """The stream to write to, from `start`; 0 begins again."""
        if start:
            return self.path.open("ab")
        etag = headers.get("ETag") or ""
        # A weak mark (W/) does not promise equal bytes, so RFC 9110 forbids it in If-Range.
        version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        write_json(self._note, {"url": self._url, "version": version})
        return self.path.open("wb")

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Flush the file and give it its name."""
        with self.path.open("rb+") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self._target)
        self._note.unlink(missing_ok=True)
