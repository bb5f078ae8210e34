"""SQL over a store, by whoever may read it: read-only, and with nothing but the store in reach."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from harness.errors import StoreError, UsageError
from harness.store import catalogue


@dataclass(frozen=True)
class QueryResult:
    """What a query gave.

    Attributes:
        columns: names, in order.
        rows: Python values, in order.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(repr=False)


def run_query(store: Path, sql: str) -> QueryResult:
    """Run one SELECT over the catalogue, which is made anew first if the store changed.

    The connection is read-only, sees no file but the Parquet files of the store's valid bundles,
    loads no extension, and its configuration is locked. Only statements that read are accepted.

    Raises:
        StoreError: there is no store, or its catalogue cannot be opened.
        UsageError: the SQL is wrong, not a single SELECT, or reaches outside the store.
    """
    with catalogue.current(store) as path:
        _require_select(sql, path)
        with (
            tempfile.TemporaryDirectory(prefix="harness-query-") as spill,
            _locked(path, Path(spill)) as connection,
        ):
            try:
                cursor = connection.execute(sql)
                rows = cursor.fetchall()
            except duckdb.Error as error:
                raise UsageError(_first_lines(error), _remedy(path)) from error
            return QueryResult(tuple(column[0] for column in cursor.description or []), rows)


def _tables(path: Path) -> list[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            "SELECT table_name FROM information_schema.tables ORDER BY table_name"
        ).fetchall()
    return [name for (name,) in found if name not in {"files", "meta", "t_quantiles", "top1"}]


def _remedy(path: Path) -> str:
    return f"Tables are {', '.join(_tables(path))}. Columns: DESCRIBE a table."


def _require_select(sql: str, path: Path) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(_first_lines(error), _remedy(path)) from error
    # Version 1 calls the kinds by the same names; EXPLAIN ANALYZE would run what it explains.
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        raise UsageError(
            "Only one SELECT at a time (or DESCRIBE, SHOW, SUMMARIZE) is allowed.", _remedy(path)
        )


def _locked(path: Path, spill: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection that reaches nothing but the store's Parquet files."""
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise StoreError(
            f"Cannot open {path}: {_first_lines(error)}", "Delete it; it is made again."
        ) from error
    files = [row[0] for row in connection.execute("SELECT path FROM files").fetchall()]
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET allow_community_extensions = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET temp_directory = '" + str(spill).replace("'", "''") + "'")
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _first_lines(error: duckdb.Error) -> str:
    return str(error).strip().replace("\n\n", "\n")
