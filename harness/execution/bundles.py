"""Bundles: folders that are whole or absent, with a manifest of what they hold."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.canonical import sha256_file
from harness.errors import ExecutionError, StoreError

if TYPE_CHECKING:
    import duckdb

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


def answers_folder(store: Path, key: str) -> Path:
    """Where the answers of a cell are kept."""
    return store / "answers" / key[:2] / key


def inputs_folder(store: Path, key: str) -> Path:
    """Where the list of images (names, hashes, labels) of a set of inputs is kept."""
    return store / "inputs" / key[:2] / key


def artifact_folder(store: Path, key: str) -> Path:
    """Where a converted model is kept."""
    return store / "artifacts" / key[:2] / key


def session_folder(store: Path, session_id: str) -> Path:
    """Where an interleaved timing is kept."""
    return store / "sessions" / session_id


def seal(folder: Path) -> None:
    """Write the manifest: size and SHA-256 of every file of a staged folder."""
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256_file(path),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({"schema_version": SCHEMA_VERSION, "files": files}, indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def validate(path: Path, *, deep: bool = False) -> dict[str, Any]:
    """Check a bundle against its manifest and return the manifest.

    Args:
        path: the bundle's folder.
        deep: hash every file too; without it names, kinds and sizes are checked.

    Raises:
        StoreError: the folder or its manifest is missing, or a file is missing, no regular
            file, of another size or (deep) of other content.
    """
    remedy = "Remove that folder; the next sweep makes it again."
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files = {str(n): (int(f["size"]), str(f["sha256"])) for n, f in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not a whole bundle: no readable manifest.", remedy) from error
    if not files:
        raise StoreError(f"{path} is not a whole bundle: its manifest names no files.", remedy)
    for name, (size, sha256) in files.items():
        file = path / name
        try:
            info = file.lstat()
        except OSError as error:
            raise StoreError(f"{file} is missing.", remedy) from error
        if not stat.S_ISREG(info.st_mode) or info.st_size != size:
            raise StoreError(f"{file} is not the file that was committed.", remedy)
        if deep and sha256_file(file) != sha256:
            raise StoreError(f"{file} does not hold what was committed.", remedy)
    return manifest


def is_whole(path: Path, *, deep: bool = False) -> bool:
    """Whether a folder is a bundle that validates."""
    try:
        validate(path, deep=deep)
    except StoreError:
        return False
    return True


def read_array(path: Path, *, max_bytes: int) -> npt.NDArray[Any]:
    """Open an array that a runner wrote, trusting nothing of it.

    Returns:
        A read-only memory map.

    Raises:
        ExecutionError: kind `invalid-output`: no regular file, too large, or not a plain array.
    """
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            raise ExecutionError("invalid-output", f"{path.name} is not a regular file.")
        if info.st_size > max_bytes:
            raise ExecutionError(
                "invalid-output", f"{path.name} is larger than {max_bytes} bytes.", "Use --limit."
            )
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ExecutionError("invalid-output", f"{path.name} cannot be read: {error}.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ExecutionError("invalid-output", f"{path.name} holds no plain array of numbers.")
    return array


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn DuckDB's failure to write a file into a StoreError with the place and the remedy."""
    # A conductor reads arrays and writes no bundle: it starts without DuckDB.
    import duckdb  # noqa: PLC0415

    try:
        yield
    except duckdb.Error as error:
        if is_full(error):
            raise StoreError(
                f"No space is left to write {path}.",
                "Free some space or choose another place with --store DIR. "
                "Finished results are kept.",
            ) from error
        if isinstance(error, duckdb.IOException):
            raise StoreError(f"Cannot write {path}: {error}.", "Check the folder.") from error
        raise


def is_full(error: duckdb.Error) -> bool:
    """Whether DuckDB ran out of disk; it says so in several kinds of error."""
    return any(said in str(error) for said in ("No space left", "Disk quota exceeded"))


def write_parquet(path: Path, columns: Mapping[str, npt.NDArray[Any]], types: str) -> None:
    """Write equally long columns as Parquet.

    Args:
        path: the file to write.
        columns: one array a column.
        types: the columns in SQL, as `image::INTEGER AS image, ...`.
    """
    from harness.databases import connect  # noqa: PLC0415

    rows = dict(columns)
    with database_errors(path), connect() as connection:
        connection.register("rows", rows)
        target = str(path).replace("'", "''")
        connection.execute(
            f"COPY (SELECT {types} FROM rows) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608
        )
