"""`harness report`: a sweep as one HTML page, or as Markdown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    sweep: Annotated[
        str | None,
        typer.Argument(
            help="A sweep's id. Without it: the newest that is not part of a study.",
            metavar="SWEEP",
        ),
    ] = None,
    store: Annotated[
        Path, typer.Option("--store", help="The results folder.", show_default=True)
    ] = Path("results"),
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The page to write (default: reports/SWEEP.html in the store)."),
    ] = None,
    markdown: Annotated[
        bool,
        typer.Option(
            "--markdown",
            help="Print one table and the labels that changed, for an issue or a pull request.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Write a sweep's report: one HTML page that needs nothing but a browser."""
    from harness.errors import StoreError
    from harness.report.html import write_report
    from harness.store import layout

    if markdown and as_json:
        raise typer.BadParameter("give --markdown or --json, not both", param_hint="--markdown")
    if sweep is None:
        known = list(layout.sweep_documents(layout.require(store)))
        if not known:
            raise StoreError(f"There is no sweep in {store} yet.", "Run `harness sweep` first.")
        asked_for = [document for document in known if not document.get("study")]
        sweep = str((asked_for or known)[-1]["id"])
    if markdown:
        _print_markdown(store, sweep, out)
        return
    path = write_report(store, sweep, out or store / "reports" / f"{sweep}.html")
    if as_json:
        document = {"sweep": sweep, "path": str(path)}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(f"{path}\n")


def _print_markdown(store: Path, sweep: str, out: Path | None) -> None:
    from harness.analysis.sweep_result import sweep_result
    from harness.canonical import storage_errors
    from harness.report.markdown import as_markdown

    text = as_markdown(sweep_result(store, sweep))
    if out is None:
        sys.stdout.write(text)
        return
    with storage_errors(out):
        out.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{out}\n")
