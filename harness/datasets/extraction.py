"""Images of Parquet files, written once as files into the cache."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
from filelock import FileLock

from harness.canonical import key_of, sha256_file, storage_errors, write_json
from harness.databases import connect
from harness.datasets.files import IMAGE_SUFFIXES
from harness.datasets.inputs import Excluded
from harness.errors import DatasetError, StoreError
from harness.progress import Progress, Task

MAX_IMAGE_BYTES = 1 << 28
"""Larger values are left out."""

_SCHEMA_VERSION = 1
_MIB = 1 << 20
_MEMORY = "2GB"
_AT_ONCE = 16
_RESERVE_BYTES = 512 * _MIB
_MOST_UNFOLDING = 64
_SAFE = re.compile(r"\w[\w.,+=@() -]{0,180}", re.ASCII)
_KINDS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what, as SQL expressions over a row."""

    image: str
    path: str
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    """An image as extracted: its file's name, and its label as written (None: none)."""

    name: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Extracted:
    """A folder of image files, and what its rows said."""

    folder: Path
    rows: tuple[Row, ...]
    excluded: tuple[Excluded, ...]


@contextlib.contextmanager
def reading(files: Sequence[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with bounded memory; what DuckDB finds wrong becomes a DatasetError."""
    try:
        with connect(
            config={
                "threads": "1",
                "memory_limit": _MEMORY,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "temp_directory": "",
            },
        ) as connection:
            yield connection
    except duckdb.OutOfMemoryException as error:
        raise DatasetError(
            f"A group of rows in {files[0]} needs more than {_MEMORY} of memory.",
            "Write the file with smaller row groups (a few hundred images each).",
        ) from error
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        raise DatasetError(
            f"{files[0].parent if len(files) > 1 else files[0]} cannot be read as Parquet: {text}",
            "Check that the files are whole; files of Git LFS are pointers until they are pulled.",
        ) from error


def literal(path: Path) -> str:
    """A path as DuckDB takes it for this file alone, whatever signs are in it."""
    return "".join(f"[{sign}]" if sign in "[*?" else sign for sign in str(path))


def extract(files: Sequence[Path], columns: Columns, cache: Path, progress: Progress) -> Extracted:
    """Write the images of Parquet files to `cache`/images/<key>, or find them there.

    The key is over the files' bytes and their columns. Names are those that the rows give where
    all are plain, different file names, else `row-0000012.jpg`. Memory is bounded: one group of
    rows is read at a time.

    Args:
        files: of one split, in order.
        columns: where image and label are.
        cache: the cache folder.
        progress: where hashing and writing report to.

    Raises:
        DatasetError: files that cannot be read, or hold no image.
        StoreError: the cache cannot be written, or has no space.
    """
    digests = []
    with progress.task("Reading Parquet files", total=len(files)) as task:
        for file in files:
            try:
                digests.append(sha256_file(file))
            except OSError as error:
                raise DatasetError(f"Cannot read {file}: {error.strerror}.") from error
            task.advance()
    key = key_of(
        {
            "schema_version": _SCHEMA_VERSION,
            "parquet": digests,
            "columns": [columns.image, columns.path, columns.label],
        }
    )
    target = cache / "images" / key
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{key}.lock")):
            kept = _read_cached(target)
            if kept is None:
                for cut in target.parent.glob(f".{key}.*.staged"):
                    shutil.rmtree(cut, ignore_errors=True)
                _write(target, files, columns, progress)
                kept = _read_cached(target)
    if kept is None:
        raise StoreError(
            f"The images in {target} vanished while they were written.", "Run it again."
        )
    return kept


def _read_cached(target: Path) -> Extracted | None:
    """What lies there, if it is whole; else it is removed."""
    try:
        record = json.loads((target / "rows.json").read_text(encoding="utf-8"))
        rows = tuple(Row(name, label) for name, _, label in record["rows"])
        whole = all(
            (target / "files" / name).stat().st_size == size for name, size, _ in record["rows"]
        )
        excluded = tuple(Excluded(e["name"], e["reason"]) for e in record["excluded"])
        if whole:
            return Extracted(target / "files", rows, excluded)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(target, ignore_errors=True)
    return None


def _write(target: Path, files: Sequence[Path], columns: Columns, progress: Progress) -> None:
    size = sum(file.stat().st_size for file in files)
    _check_space(target.parent, size)
    with reading(files) as connection:
        paths = [
            row[0]
            for file in files
            for row in connection.execute(
                f"SELECT {columns.path} FROM read_parquet(?)",  # noqa: S608 - quoted identifiers
                [literal(file)],
            ).fetchall()
        ]
        names = _names(paths)
        with (
            _staged(target) as staged,
            progress.task("Writing images", total=len(paths)) as task,
        ):
            (staged / "files").mkdir()
            writer = _Writer(staged / "files", names, files, size * _MOST_UNFOLDING + (1 << 30))
            for file in files:
                cursor = connection.execute(
                    f"SELECT {columns.image}, {columns.label} "  # noqa: S608 - quoted identifiers
                    "FROM read_parquet(?)",
                    [literal(file)],
                )
                while rows := cursor.fetchmany(_AT_ONCE):
                    writer.write(file, rows, task)
            if not writer.rows:
                raise DatasetError(
                    f"There is no image in {files[0]}.", "Its rows hold no bytes of images."
                )
            write_json(
                staged / "rows.json",
                {
                    "schema_version": _SCHEMA_VERSION,
                    "rows": writer.rows,
                    "excluded": [{"name": e.name, "reason": e.reason} for e in writer.excluded],
                },
            )


@contextlib.contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A folder that takes its name when the block ends well; the caller holds the lock.

    Unlike `atomic_folder` it flushes the disk once: tens of thousands of small files, one by one,
    take minutes.
    """
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.staged")
    try:
        staged.mkdir()
        yield staged
        os.sync()
        staged.rename(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


class _Writer:
    """Writes rows as files, and keeps the books."""

    def __init__(
        self, folder: Path, names: list[str] | None, files: Sequence[Path], most_bytes: int
    ) -> None:
        self._folder, self._names, self._files = folder, names, files
        self._most, self._total, self._place = most_bytes, 0, 0
        self.rows: list[tuple[str, int, str | None]] = []
        self.excluded: list[Excluded] = []

    def write(self, file: Path, rows: Sequence[tuple[Any, Any]], task: Task) -> None:
        _check_space(self._folder, 0)
        for data, label in rows:
            place, self._place = self._place, self._place + 1
            task.advance()
            if data is None or len(data) > MAX_IMAGE_BYTES:
                reason = (
                    "it is in the table by its path alone, without its bytes"
                    if data is None
                    else f"it has more than {MAX_IMAGE_BYTES // _MIB} MiB"
                )
                self.excluded.append(Excluded(f"row {place} ({file.name})", reason))
                continue
            self._total += len(data)
            if self._total > self._most:
                raise DatasetError(
                    f"The images in {file} unfold to more than {_MOST_UNFOLDING} times the file.",
                    "This is hardly a data set of images: check where it is from.",
                )
            name = self._names[place] if self._names else f"row-{place:07d}{_suffix(data)}"
            (self._folder / name).write_bytes(data)
            self.rows.append((name, len(data), None if label is None else str(label)))


def _names(paths: Sequence[Any]) -> list[str] | None:
    """The rows' own file names, where all are plain and different; else None."""
    names = [PurePosixPath(str(path).replace("\\", "/")).name for path in paths]
    plain = all(_SAFE.fullmatch(name) and name.lower().endswith(IMAGE_SUFFIXES) for name in names)
    # Two that differ in case alone are one file on some disks.
    return names if plain and len({name.lower() for name in names}) == len(names) else None


def _suffix(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for head, suffix in _KINDS if data.startswith(head)), ".bin")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _RESERVE_BYTES:
        raise StoreError(
            f"The images of a Parquet file need {needed / _MIB:.0f} MiB more, but {folder} has "
            f"{free / _MIB:.0f} MiB free.",
            "Free some space, or move the caches with HARNESS_CACHE=DIR.",
        )
