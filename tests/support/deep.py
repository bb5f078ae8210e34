"""Folders nested deeper than a path may be long and than Python recurses."""

from __future__ import annotations

import os
from pathlib import Path

LEVELS = 1200


def nest(folder: Path, levels: int = LEVELS, content: bytes | None = None) -> None:
    """Nest `levels` folders in one; with content, a file and a link to the root in each."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("nested-a", dir_fd=here)
        inner = os.open("nested-a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
        if content is not None:
            file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here)
            os.write(file, content)
            os.close(file)
            os.symlink("/", "link", dir_fd=here)
    os.close(here)
