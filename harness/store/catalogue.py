"""The catalogue: a DuckDB file made from the bundles, swapped in whole and never held open.

Bundles are the truth. The catalogue can be deleted at any time, is made again when what it was
made from changes, and is replaced by one rename, so that readers see the old or the new.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from scipy import stats

from harness.canonical import storage_errors
from harness.databases import connect
from harness.errors import StoreError
from harness.execution.bundles import MANIFEST, is_full
from harness.store import layout
from harness.store.rows import Row, Rows, collect

SCHEMA_VERSION = 1
_HERE = Path(__file__).parent
_SCHEMA, _VIEWS = _HERE / "schema.sql", _HERE / "views.sql"
_T_QUANTILES = 2000


def catalogue_path(store: Path) -> Path:
    """Where a store's catalogue stands."""
    return store / layout.CATALOGUE


def refresh(store: Path) -> Path:
    """Make the catalogue anew from the bundles and swap it in.

    Several processes may refresh at once; each swaps in a whole catalogue. A damaged bundle is
    left out and named in the table `problems`. An empty store gives empty tables.

    Returns:
        The catalogue's path.

    Raises:
        StoreError: the store is absent or cannot be written.
    """
    layout.require(store)
    target = catalogue_path(store)
    staged = store / f".{layout.CATALOGUE}.{uuid.uuid4().hex[:8]}.tmp"
    with _writing(target):
        try:
            staged.touch()
            staged.unlink()
            with connect(str(staged)) as connection:
                fill(connection, store)
                # Closing would write the rest too, but says nothing of a disk that is full.
                connection.execute("CHECKPOINT")
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
            staged.with_name(staged.name + ".wal").unlink(missing_ok=True)
    return target


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a disk that is full or may not be written into a StoreError, whoever found it out."""
    with storage_errors(path):
        try:
            yield
        except duckdb.Error as error:
            if is_full(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            if isinstance(error, duckdb.IOException):
                raise StoreError(f"Cannot write {path}: {error}.", "Check the folder.") from error
            raise


@contextmanager
def opened(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the catalogue, made anew first if the store changed since.

    The catalogue of a store that cannot be written (a full disk, an archive, another's results)
    is made in memory instead: no other place is sure to have room.

    Raises:
        StoreError: the store is absent, or its catalogue cannot be opened.
    """
    path = _refreshed(store)
    if path is None:
        with connect(config={"temp_directory": ""}) as connection:
            fill(connection, store)
            yield connection
        return
    try:
        connection = connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise StoreError(f"Cannot open {path}: {error}", "Delete it; it is made again.") from error
    with connection:
        yield connection


def _refreshed(store: Path) -> Path | None:
    """The store's own catalogue, up to date; None where it cannot be written."""
    layout.require(store)
    if is_current(store):
        return catalogue_path(store)
    try:
        return refresh(store)
    except StoreError:
        return None


def is_current(store: Path) -> bool:
    """Whether the catalogue was made from what the store holds now, at its present place."""
    path = catalogue_path(store)
    if not path.is_file():
        return False
    try:
        with connect(str(path), read_only=True) as connection:
            found = connection.execute(
                "SELECT value FROM meta WHERE name = 'fingerprint'"
            ).fetchone()
    except duckdb.Error:
        return False
    return found is not None and found[0] == fingerprint(store)


def fingerprint(store: Path) -> str:
    """A hash that changes when a bundle, sweep or attempt comes, goes or is replaced.

    A harness with other tables or views makes the catalogue anew too.
    """
    watched = [*(folder / MANIFEST for folder in _bundle_folders(store))]
    watched += layout.sweep_files(store) + layout.attempt_files(store)
    digest = hashlib.sha256(f"{SCHEMA_VERSION}\0{store.resolve()}".encode())
    for script in (_SCHEMA, _VIEWS):
        digest.update(script.read_bytes())
    for path in watched:
        try:
            info = path.stat()
        except OSError:
            digest.update(f"\0{path} absent".encode())
            continue
        digest.update(f"\0{path.relative_to(store)}\0{info.st_mtime_ns}\0{info.st_size}".encode())
    return digest.hexdigest()


def _bundle_folders(store: Path) -> list[Path]:
    return [
        *layout.answer_folders(store),
        *layout.input_folders(store),
        *layout.session_folders(store),
    ]


def fill(connection: duckdb.DuckDBPyConnection, store: Path) -> None:
    """Make a store's catalogue in a database that is empty."""
    # Taken before reading: what arrives meanwhile makes the catalogue stale, never silently old.
    print_of_store = fingerprint(store)
    rows = collect(store)
    connection.execute(_SCHEMA.read_text(encoding="utf-8"))
    rows.add("meta", {"name": "schema_version", "value": str(SCHEMA_VERSION)})
    rows.add("meta", {"name": "fingerprint", "value": print_of_store})
    for degrees in range(1, _longest(rows)):
        value = float(stats.t.ppf(0.975, degrees))
        rows.add("t_quantiles", {"degrees": degrees, "value": value})
    for files in rows.parquet.values():
        for path, key in files:
            rows.add("files", {"path": str(path), "key": key})
    for table, content in rows.tables.items():
        _insert(connection, table, content)
    for view in _PARQUET_VIEWS:
        _parquet_view(connection, view, rows.parquet.get(view, []))
    connection.execute(_VIEWS.read_text(encoding="utf-8"))


def _longest(rows: Rows) -> int:
    rounds = [int(row["rounds"] or 0) for row in rows.tables.get("sessions", [])]
    return min(_T_QUANTILES, max(rounds, default=0) + 2)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, content: Sequence[Row]) -> None:
    """Insert all rows at once (a row at a time costs a millisecond each).

    Values travel as text and are cast to the column's type; one that does not fit its column,
    from a document that somebody else wrote, becomes NULL instead of stopping the refresh.
    """
    types = dict(
        connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ?",
            [table],
        ).fetchall()
    )
    names = list(content[0])
    cast = ", ".join(f"TRY_CAST(unnest(${n}::VARCHAR[]) AS {types[n]})" for n in names)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {cast}",
        {name: [_text(row[name]) for row in content] for name in names},
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


_PARQUET_VIEWS: dict[str, tuple[str, dict[str, str]]] = {
    "images": (
        "inputs_key",
        {"image": "INTEGER", "name": "VARCHAR", "sha256": "VARCHAR", "label": "INTEGER"},
    ),
    "answers": (
        "cell",
        {"image": "INTEGER", "rank": "INTEGER", "class": "INTEGER", "score": "FLOAT"},
    ),
    "timings": (
        "session",
        {"cell": "VARCHAR", "round": "INTEGER", "iteration": "INTEGER", "duration_ns": "BIGINT"},
    ),
}
"""View -> (the column that names the bundle, the Parquet file's own columns)."""


def _parquet_view(
    connection: duckdb.DuckDBPyConnection, view: str, files: Sequence[tuple[Path, str]]
) -> None:
    owner, columns = _PARQUET_VIEWS[view]
    if files:
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path, _ in files)
        taken = ", ".join(f"p.{name}::{kind} AS {name}" for name, kind in columns.items())
        body = (
            f"SELECT f.key AS {owner}, {taken} FROM read_parquet([{listed}], filename = true) p "  # noqa: S608
            "JOIN files f ON f.path = p.filename"
        )
    else:
        taken = ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items())
        body = f"SELECT NULL::VARCHAR AS {owner}, {taken} WHERE false"
    connection.execute(f"CREATE VIEW {view} AS {body}")
