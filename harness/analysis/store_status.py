"""What a store holds, in one JSON object. Reads the documents only, never large files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.store import catalogue, layout
from harness.store.query import run_query

Document = dict[str, Any]


def store_status(store: Path) -> Document:
    """Sweeps, cells, sessions, failures, problems and sizes of a store.

    A failure is listed when its cell has no answers now; earlier attempts of a cell that has
    succeeded since are counted only.

    Raises:
        StoreError: there is no such folder.
    """
    layout.require(store)
    failed = _rows(
        store,
        "SELECT * EXCLUDE (path) FROM failures WHERE key NOT IN (SELECT key FROM cells) "
        "QUALIFY row_number() OVER (PARTITION BY key ORDER BY started DESC) = 1 ORDER BY started",
    )
    counts = _rows(
        store,
        "SELECT (SELECT count(*) FROM cells WHERE role <> 'control') AS cells, "
        "(SELECT count(*) FROM cells WHERE role = 'control') AS controls, "
        "(SELECT count(*) FROM sessions) AS sessions, "
        "(SELECT count(*) FROM sweeps) AS sweeps, "
        "(SELECT count(*) FROM failures) AS attempts_failed",
    )[0]
    cells = _rows(
        store,
        "SELECT c.key, c.model, c.environment, c.backend, c.settings, c.role, c.images, "
        "a.top1, a.top5 FROM cells c LEFT JOIN accuracy a ON a.cell = c.key ORDER BY c.place",
    )
    return {
        "schema_version": 1,
        "store": str(store),
        **counts,
        "sweeps_listed": _rows(store, "SELECT * EXCLUDE (path) FROM sweeps ORDER BY created, id"),
        "cells_listed": cells,
        "failures": failed,
        "problems": _rows(store, "SELECT * FROM problems ORDER BY path"),
        "size_bytes": {
            name: _size(store / name)
            for name in ("answers", "sessions", "inputs", "artifacts", "attempts", "sweeps")
        },
        "catalogue": str(catalogue.catalogue_path(store)),
    }


def _rows(store: Path, sql: str) -> list[Document]:
    found = run_query(store, sql)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def _size(root: Path) -> int:
    total = 0
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                total += (Path(folder) / name).lstat().st_size
            except OSError:
                continue  # a running sweep renames its staged folders
    return total
