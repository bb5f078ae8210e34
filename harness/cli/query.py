"""`harness query`: SQL over the results."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

ROWS_SHOWN = 200


def command(
    sql: Annotated[
        str | None,
        typer.Argument(help="One SELECT. Without it: the tables there are."),
    ] = None,
    store: Annotated[
        Path, typer.Option("--store", help="The results folder.", show_default=True)
    ] = Path("results"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: columns, and rows as lists.")
    ] = False,
) -> None:
    """Ask the results in SQL: cells, accuracy, pairs, flips, latency, time_ratios, failures and more.

    Example: harness query "SELECT environment, backend, top1, top5 FROM accuracy"
    """
    from harness.store.query import run_query

    if sql is None:
        sql = (
            "SELECT table_name AS \"table\", string_agg(column_name, ', ' ORDER BY column_index) "
            "AS columns FROM duckdb_columns() WHERE NOT internal AND table_name NOT IN "
            "('files', 'meta', 't_quantiles', 'top1') GROUP BY table_name ORDER BY table_name"
        )
    result = run_query(store, sql)
    if as_json:
        document = {
            "columns": list(result.columns),
            "rows": [[_plain(value) for value in row] for row in result.rows],
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
        return
    _print_table(result.columns, result.rows)


def _print_table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from harness.report.tables import standard_output

    console = standard_output()
    table = Table(box=box.SIMPLE_HEAD)
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows[:ROWS_SHOWN]:
        table.add_row(*(Text(_text(value)) for value in row))
    console.print(table)
    if len(rows) > ROWS_SHOWN:
        console.print(f"… {len(rows) - ROWS_SHOWN} more rows; --json prints all.")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)
