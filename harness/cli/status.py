"""`harness status`: what a results folder holds; works while a sweep is running."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    store: Annotated[
        Path, typer.Option("--store", help="The results folder.", show_default=True)
    ] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Show the sweeps, cells, failures and sizes of a results folder."""
    from harness.analysis.store_status import store_status
    from harness.report.tables import print_status, standard_output

    found = store_status(store)
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
        return
    print_status(found, standard_output())
