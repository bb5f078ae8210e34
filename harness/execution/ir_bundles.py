"""Bundles of what a backend compiled a cell's model to: intermediate representations, code."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from harness.canonical import atomic_folder
from harness.errors import ExecutionError
from harness.execution.bundles import MANIFEST, is_whole, seal

INDEX = "ir.json"
MAX_BYTES = 1 << 30
MAX_FILES = 10_000
_NAME_BYTES = 255
_DEPTH = 16


def ir_folder(store: Path, key: str) -> Path:
    """Where what a cell's backend compiled is kept."""
    return store / "ir" / key[:2] / key


def commit_ir(
    store: Path, key: str, folder: Path, files: Sequence[str], *, max_bytes: int = MAX_BYTES
) -> Path:
    """Keep the files that a runner named in its `loaded` event, and `ir.json`, which lists them.

    Args:
        store: the results folder.
        key: the cell's.
        folder: the folder `ir` of the runner's work folder; nothing of it is trusted.
        files: paths relative to it.
        max_bytes: what they may hold together.

    Raises:
        ExecutionError: kind `invalid-output`: a name that leads out of the folder, something that is
            no regular file, or too many bytes or files.
        StoreError: the store is full or read-only.
    """
    if len(files) > MAX_FILES:
        raise _refused(f"The backend wrote {len(files)} files of what it compiled.")
    names = [_checked(name) for name in dict.fromkeys(files)]
    target = ir_folder(store, key)
    if not is_whole(target, deep=True):
        shutil.rmtree(target, ignore_errors=True)
    left = max_bytes
    with atomic_folder(target) as staged:
        for name in names:
            copy = staged / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            left -= _copy(folder, name, copy, left, max_bytes)
        listed = {"schema_version": 1, "key": key, "files": [str(name) for name in names]}
        (staged / INDEX).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
        seal(staged)
    return target


def _checked(name: str) -> PurePosixPath:
    """A path that stays below its folder."""
    path = PurePosixPath(name)
    parts = path.parts
    plain = bool(parts) and not path.is_absolute() and str(path) == name and ".." not in parts
    short = len(parts) <= _DEPTH and all(len(os.fsencode(part)) <= _NAME_BYTES for part in parts)
    printable = name.isprintable() and "\\" not in name
    if not (plain and short and printable) or path.name in {MANIFEST, INDEX}:
        raise _refused(f"The name {name!r} of a file of what was compiled is not usable.")
    return path


def _copy(folder: Path, name: PurePosixPath, to: Path, left: int, max_bytes: int) -> int:
    """Copy one regular file, without following a link on the way to it; its size."""
    source = folder / name
    try:
        for part in (folder, *(folder / parent for parent in name.parents)):
            if not stat.S_ISDIR(part.lstat().st_mode):
                raise _refused(f"{name} of what was compiled is not below a plain folder.")
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(f"{name} of what was compiled cannot be read: {error.strerror}.") from error
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise _refused(f"{name} of what was compiled is no regular file.")
    with os.fdopen(descriptor, "rb") as opened:
        if info.st_size > left:
            raise _refused(
                f"What was compiled is larger than {max_bytes} bytes.",
                "Run this cell without --keep-ir.",
            )
        with to.open("wb") as copy:
            shutil.copyfileobj(opened, copy)
    # A file that grew meanwhile counts as what was taken of it.
    size = to.stat().st_size
    if size > left:
        raise _refused(f"What was compiled is larger than {max_bytes} bytes.")
    return size


def _refused(message: str, remedy: str = "") -> ExecutionError:
    return ExecutionError("invalid-output", message, remedy)
