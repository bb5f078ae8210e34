"""`harness report`: a sweep as one HTML page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    sweep: Annotated[
        str | None, typer.Argument(help="A sweep's id. Without it: the newest.", metavar="SWEEP")
    ] = None,
    store: Annotated[
        Path, typer.Option("--store", help="The results folder.", show_default=True)
    ] = Path("results"),
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The page to write (default: reports/SWEEP.html in the store)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Write a sweep's report: one HTML page that needs nothing but a browser."""
    from harness.errors import StoreError
    from harness.report.html import write_report
    from harness.store import layout

    if sweep is None:
        newest = [str(d["id"]) for d in layout.sweep_documents(layout.require(store))]
        if not newest:
            raise StoreError(f"There is no sweep in {store} yet.", "Run `harness sweep` first.")
        sweep = newest[-1]
    path = write_report(store, sweep, out or store / "reports" / f"{sweep}.html")
    if as_json:
        document = {"sweep": sweep, "path": str(path)}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(f"{path}\n")
