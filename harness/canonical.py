"""Canonical JSON, hashes, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import StoreError

_CHUNK_BYTES = 1 << 20
_NOT_WRITABLE = frozenset(
    {
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.ENOENT,
        errno.EINVAL,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: a float that is not finite.
        TypeError: a value JSON cannot hold.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def key_of(value: Any) -> str:
    """SHA-256 (hex, 64 characters) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part of it."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with storage_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with staged.open("w", encoding="utf-8") as stream:
                json.dump(value, stream, indent=2, ensure_ascii=False, allow_nan=False)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a StoreError that names the place and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreError(
                f"No space is left to write {path}.",
                "Free some space or choose another place with --store DIR "
                "(caches: HARNESS_CACHE). Finished results are kept.",
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise StoreError(
                f"Cannot write {path}: {error.strerror}.",
                "Choose a folder that you may write with --store DIR (caches: HARNESS_CACHE).",
            ) from error
        raise


def fsync_tree(folder: Path) -> None:
    """Flush every file below a folder, and the folders, to the disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            _fsync(Path(root) / name)
        _fsync(Path(root))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a fresh folder beside `target` that takes its name when the block ends well.

    Where another process has put a folder there meanwhile, theirs is kept: equal names hold
    equal content here. On an exception the staged folder is removed.
    """
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.staged")
    with storage_errors(target):
        try:
            staged.mkdir(parents=True)
            yield staged
            fsync_tree(staged)
            try:
                staged.rename(target)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
            _fsync(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
