"""Bundles of what a backend compiled a cell's model to: intermediate representations, code."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from harness.canonical import atomic_folder
from harness.errors import ExecutionError
from harness.execution.bundles import MANIFEST, is_whole, seal

INDEX = "ir.json"
MAX_BYTES = 1 << 30
MAX_FILES = 10_000
_NAME_BYTES = 255
_PATH_BYTES = 1024
_DEPTH = 16
_CHUNK_BYTES = 1 << 20


def ir_folder(store: Path, key: str) -> Path:
    """Where what a cell's backend compiled is kept."""
    return store / "ir" / key[:2] / key


def commit_ir(
    store: Path, key: str, folder: Path, files: Sequence[str], *, max_bytes: int = MAX_BYTES
) -> Path:
    """Keep the files that a runner named in its `loaded` event, and `ir.json`, which lists them.

    Files that are refused are kept as a bundle too, without any, whose `ir.json` says why: loading
    the model again would bring the same ones.

    Args:
        store: the results folder.
        key: the cell's.
        folder: the folder `ir` of the runner's work folder; nothing of it is trusted.
        files: paths relative to it.
        max_bytes: what they may hold together.

    Raises:
        ExecutionError: kind `invalid-output`: a name that leads out of the folder or is that of
            another's folder, something that is no regular file, or too many bytes or files. That
            is kept by then.
        StoreError: the store is full or read-only.
    """
    target = ir_folder(store, key)
    if not is_whole(target, deep=True):
        shutil.rmtree(target, ignore_errors=True)
    try:
        names = _checked_all(files)
        left = max_bytes
        with atomic_folder(target) as staged:
            for name in names:
                copy = staged / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(folder, name, copy, left, max_bytes)
            _close(staged, key, names)
    except ExecutionError as error:
        with atomic_folder(target) as staged:
            _close(staged, key, (), error.message)
        raise
    return target


def _close(
    staged: Path, key: str, names: Sequence[PurePosixPath], refused: str | None = None
) -> None:
    """Write what a bundle lists, and its manifest."""
    listed = {
        "schema_version": 1,
        "key": key,
        "files": [str(name) for name in names],
        **({} if refused is None else {"refused": refused}),
    }
    (staged / INDEX).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    seal(staged)


def _checked_all(files: Sequence[str]) -> list[PurePosixPath]:
    """Paths below their folder of which none lies below another."""
    if not (isinstance(files, list | tuple) and all(isinstance(name, str) for name in files)):
        raise _refused("The backend named no files of what it compiled, but something else.")
    if len(files) > MAX_FILES:
        raise _refused(f"The backend wrote {len(files)} files of what it compiled.")
    names = [_checked(name) for name in dict.fromkeys(files)]
    folders = {parent for name in names for parent in name.parents}
    for name in names:
        if name in folders:
            raise _refused(f"{name} of what was compiled is named as a file and as a folder.")
    return names


def _checked(name: str) -> PurePosixPath:
    """A path that stays below its folder."""
    path = PurePosixPath(name)
    parts = path.parts
    plain = bool(parts) and not path.is_absolute() and str(path) == name and ".." not in parts
    printable = name.isprintable() and "\\" not in name
    # What is not printable may have no bytes at all, so lengths come after it.
    short = (
        printable
        and len(parts) <= _DEPTH
        and len(os.fsencode(name)) <= _PATH_BYTES
        and all(len(os.fsencode(part)) <= _NAME_BYTES for part in parts)
    )
    if not (plain and short) or {MANIFEST, INDEX} & set(parts):
        raise _refused(f"The name {name[:300]!r} of a file of what was compiled is not usable.")
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
        size = info.st_size
        if size <= left:
            # It may grow meanwhile: a byte too many shows that it did.
            with to.open("wb") as copy:
                size = _take(opened, copy, left + 1)
    if size > left:
        raise _refused(
            f"What was compiled is larger than {max_bytes} bytes.",
            "Run this cell without --keep-ir.",
        )
    return size


def _take(source: IO[bytes], to: IO[bytes], most: int) -> int:
    """Copy so many bytes at most; how many there were."""
    taken = 0
    while chunk := source.read(min(_CHUNK_BYTES, most - taken)):
        to.write(chunk)
        taken += len(chunk)
    return taken


def _refused(message: str, remedy: str = "") -> ExecutionError:
    return ExecutionError("invalid-output", message, remedy)
