"""SQL over a store, by whoever may read it: read-only, and with nothing but the store in reach."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from harness.errors import StoreError, UsageError
from harness.execution.bundles import is_full
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
    with reading(store) as ask:
        return ask(sql)


@contextmanager
def reading(store: Path) -> Iterator[Callable[[str], QueryResult]]:
    """A function that answers one SELECT as `run_query` does; for several over one catalogue.

    Raises:
        StoreError: there is no store, or its catalogue cannot be opened.
    """
    with catalogue.opened(store) as connection, _spill() as folder:
        _lock(connection, folder)
        yield partial(_ask, connection)


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> QueryResult:
    _require_select(connection, sql)
    try:
        cursor = connection.execute(sql)
        rows = cursor.fetchall()
    except duckdb.Error as error:
        if is_full(error):
            raise StoreError(
                "No space is left for what the query puts aside while it works.",
                "Free some space or name a folder that has some in TMPDIR.",
            ) from error
        raise UsageError(_first_lines(error), _remedy(connection)) from error
    return QueryResult(tuple(column[0] for column in cursor.description or []), rows)


@contextmanager
def _spill() -> Iterator[str]:
    """A folder for what does not fit into memory; "" where none can be made (a full disk)."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-query-"))
        except OSError:
            folder = ""
        yield folder


def _remedy(connection: duckdb.DuckDBPyConnection) -> str:
    found = connection.execute(
        "SELECT table_name FROM information_schema.tables ORDER BY table_name"
    ).fetchall()
    tables = [name for (name,) in found if name not in {"files", "meta", "t_quantiles", "top1"}]
    return f"Tables are {', '.join(tables)}. Columns: DESCRIBE a table."


def _require_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(_first_lines(error), _remedy(connection)) from error
    # Version 1 calls the kinds by the same names; EXPLAIN ANALYZE would run what it explains.
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        raise UsageError(
            "Only one SELECT at a time (or DESCRIBE, SHOW, SUMMARIZE) is allowed.",
            _remedy(connection),
        )


def _lock(connection: duckdb.DuckDBPyConnection, spill: str) -> None:
    """Let a connection reach nothing but the store's Parquet files, for good."""
    files = [row[0] for row in connection.execute("SELECT path FROM files").fetchall()]
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET allow_community_extensions = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET temp_directory = '" + spill.replace("'", "''") + "'")
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _first_lines(error: duckdb.Error) -> str:
    return str(error).strip().replace("\n\n", "\n")
