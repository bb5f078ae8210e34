"""Connections to DuckDB, as every room opens them."""

from __future__ import annotations

from typing import Any

import duckdb


def connect(
    path: str = ":memory:", *, read_only: bool = False, config: dict[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """Open a database; a progress bar of its own would go to standard output, amid results.

    Raises:
        duckdb.Error: it cannot be opened.
    """
    connection = duckdb.connect(path, read_only=read_only, config=config or {})
    connection.execute("SET enable_progress_bar = false")
    return connection
