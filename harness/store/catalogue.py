"""The catalogue: a DuckDB file made from the bundles, swapped in whole and never held open.

Bundles are the truth. The catalogue can be deleted at any time, is made again when what it was
made from changes, and is replaced by one rename, so that readers see the old or the new.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from scipy import stats

from harness.canonical import storage_errors
from harness.errors import StoreError
from harness.execution.bundles import MANIFEST, database_errors, validate
from harness.store import layout
from harness.store.layout import Document
from harness.store.load import open_array, settings_text

SCHEMA_VERSION = 1
_HERE = Path(__file__).parent
_SCHEMA, _VIEWS = _HERE / "schema.sql", _HERE / "views.sql"
_T_QUANTILES = 2000

Row = dict[str, Any]


@dataclass
class _Rows:
    """Rows on their way into the catalogue, by table; and Parquet files, by view."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    parquet: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)

    def add(self, table: str, row: Row) -> None:
        self.tables.setdefault(table, []).append(row)

    def add_file(self, view: str, path: Path, key: str) -> None:
        self.parquet.setdefault(view, []).append((path.resolve(), key))


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
    with storage_errors(target), database_errors(target):
        try:
            staged.touch()
            staged.unlink()
            build(store, staged)
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
            staged.with_name(staged.name + ".wal").unlink(missing_ok=True)
    return target


@contextmanager
def current(store: Path) -> Iterator[Path]:
    """The catalogue's path while it is used, made anew first if the store changed since.

    A store that may not be written (an archive, another's results) gets its catalogue in a
    temporary folder instead, which is removed after use.

    Raises:
        StoreError: the store is absent.
    """
    path = _refreshed(store)
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="harness-catalogue-") as folder:
        aside = Path(folder) / layout.CATALOGUE
        build(store, aside)
        yield aside


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
        with duckdb.connect(str(path), read_only=True) as connection:
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


def build(store: Path, target: Path) -> None:
    """Write a catalogue of the store into a file that does not exist yet."""
    # Taken before reading: what arrives meanwhile makes the catalogue stale, never silently old.
    print_of_store = fingerprint(store)
    rows = _collect(store)
    with duckdb.connect(str(target)) as connection:
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


def _longest(rows: _Rows) -> int:
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


def _collect(store: Path) -> _Rows:
    rows = _Rows()
    _each(rows, store, layout.input_folders(store), _add_inputs)
    _each(rows, store, layout.answer_folders(store), _add_answers)
    listings = layout.newest_listings(layout.sweep_documents(store))
    for row in rows.tables.get("cells", []):
        row["inputs_key"] = listings.get(row["key"], {}).get("inputs_key") or row["inputs_key"]
    ordered = sorted(rows.tables.get("cells", []), key=_place)
    if ordered:
        rows.tables["cells"] = [{**row, "place": place} for place, row in enumerate(ordered)]
    _each(rows, store, layout.session_folders(store), _add_session)
    _each(rows, store, layout.sweep_files(store), _add_sweep)
    _each(rows, store, layout.attempt_files(store), _add_attempt)
    return rows


def _place(row: Row) -> tuple[str, ...]:
    return tuple(
        str(row[n]) for n in ("model", "environment", "backend", "settings", "role", "key")
    )


def _each(
    rows: _Rows, store: Path, paths: Iterable[Path], add: Callable[[_Rows, Path, str], None]
) -> None:
    """Add each document; what cannot be read becomes a problem and the rest goes on."""
    for path in paths:
        relative = path.relative_to(store).as_posix()
        try:
            add(rows, path, relative)
        except StoreError as error:
            rows.add("problems", {"path": relative, "message": error.message})
        except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
            message = f"not the expected document: {type(error).__name__} {error}"
            rows.add("problems", {"path": relative, "message": message})


def _add_inputs(rows: _Rows, path: Path, relative: str) -> None:
    validate(path)
    document = layout.read_document(path / "inputs.json")
    parquet, key = _parquet(path / "images.parquet"), path.name
    left_out = [
        {"inputs_key": key, "name": image["name"], "reason": image["reason"]}
        for image in document.get("excluded") or []
    ]
    described = [
        {"inputs_key": key, "class": int(c["index"]), "wnid": c.get("wnid"), "name": c.get("name")}
        for c in document.get("classes") or []
    ]
    row = {
        "key": key,
        **_some(document, "pixels_key", "kind", "layout"),
        "images": document.get("count"),
        "excluded": len(left_out),
        "path": relative,
    }
    rows.add("inputs", row)
    for image in left_out:
        rows.add("excluded", image)
    for entry in described:
        rows.add("classes", entry)
    rows.add_file("images", parquet, key)


def _some(document: Document, *names: str) -> Row:
    return {name: document.get(name) for name in names}


def _add_answers(rows: _Rows, path: Path, relative: str) -> None:
    validate(path)
    cell = layout.read_document(path / "cell.json")
    answers = layout.read_document(path / "answers.json")
    outputs = {int(o["index"]): o for o in answers["outputs"]}
    shapes = {i: open_array(path / str(o["file"])).shape for i, o in outputs.items()}
    offset = int((cell.get("checkpoint") or {}).get("class_offset") or 0)
    score_index = answers.get("scores")
    named = ("model", "environment", "stack", "version", "backend", "precision", "device")
    row = {
        "key": path.name,
        **_some(cell, *named, "device_name", "threads", "batch", "executor", "repeat"),
        **_some(cell, "route", "inputs_key"),
        "settings": settings_text(cell.get("settings") or {}),
        "role": cell.get("role", "cell"),
        "class_offset": offset,
        **_some(answers, "kind", "nonfinite", "load_ns", "compile_ns", "first_inference_ns"),
        "answers_ns": answers.get("duration_ns"),
        "images": next(iter(shapes.values()))[0],
        "classes": None,
        "path": relative,
    }
    if score_index is not None:
        row["classes"] = math.prod(shapes[int(score_index)][1:]) - offset
        rows.add_file("answers", _parquet(path / "topk.parquet"), path.name)
    rows.add("cells", row)


def _add_session(rows: _Rows, path: Path, relative: str) -> None:
    validate(path)
    document = layout.read_document(path / "session.json")
    parquet = _parquet(path / "timings.parquet")
    members = [
        {"session": path.name, "key": str(m["key"]), "place": m.get("position")}
        for m in document.get("members") or []
    ]
    taken = _some(document, "created", "reference", "control", "rounds")
    rows.add("sessions", {"id": path.name, **taken, "path": relative})
    for member in members:
        rows.add("session_members", member)
    rows.add_file("timings", parquet, path.name)


def _add_sweep(rows: _Rows, path: Path, relative: str) -> None:
    document = layout.read_document(path)
    sweep_id = path.parent.name
    cells = [
        {"sweep": sweep_id, "key": str(c["key"]), "place": i, "status": c.get("status")}
        for i, c in enumerate(document["cells"])
    ]
    statuses = [cell["status"] for cell in cells]
    row = {
        "id": sweep_id,
        **_some(document, "created", "baseline"),
        "cells": len(cells),
        **{status: statuses.count(status) for status in ("done", "resumed", "failed")},
        "path": relative,
    }
    rows.add("sweeps", row)
    for cell in cells:
        rows.add("sweep_cells", cell)


def _add_attempt(rows: _Rows, path: Path, relative: str) -> None:
    document = layout.read_document(path)
    said = _some(document, "kind", "message", "exit_status", "signal", "started", "ended")
    named = _some(document.get("cell") or {}, "model", "environment", "backend")
    rows.add("failures", {"key": document["key"], **named, **said, "path": relative})


def _parquet(path: Path) -> Path:
    """The file, when DuckDB can read its footer.

    Raises:
        StoreError: it cannot.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
            stream.seek(-4, 2)
            whole = head == stream.read(4) == b"PAR1"
    except OSError as error:
        raise StoreError(f"Cannot read {path.name}: {error.strerror}.") from error
    if not whole:
        raise StoreError(f"{path.name} is not a Parquet file.")
    return path
