"""What a store holds, in one JSON object. Reads the documents only, never large files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness.store import catalogue, layout
from harness.store.query import QueryResult, reading

Document = dict[str, Any]

_COUNTS = """
SELECT (SELECT count(*) FROM cells WHERE role <> 'control') AS cells,
       (SELECT count(*) FROM cells WHERE role = 'control') AS controls,
       (SELECT count(*) FROM sessions) AS sessions,
       (SELECT count(*) FROM sweeps) AS sweeps,
       (SELECT count(*) FROM failures) AS attempts_failed
"""
_CELLS = """
SELECT c.key, c.model, c.environment, c.backend, c.level,
       concat_ws(' ', nullif(c.settings, ''), nullif(c.variant, '')) AS settings,
       c.precision, c.instruction_set, c.device, c.threads, c.batch, c.executor, c.preprocessing, c.corruption,
       c.mistake, c.recipe, c.route, c.opset, c.quantisation, c.folding, c.layout, c.optimise, c.role,
       c.images, a.top1, a.top5
FROM cells c LEFT JOIN accuracy a ON a.cell = c.key ORDER BY c.place
"""
_FAILED = """
SELECT * EXCLUDE (path) FROM failures WHERE key NOT IN (SELECT key FROM cells)
QUALIFY row_number() OVER (PARTITION BY key ORDER BY started DESC) = 1 ORDER BY started
"""

_OF_STUDIES = (
    *("id", "kind", "created", "complete", "headline"),
    *("model", "environment", "backend"),
)


def store_status(store: Path) -> Document:
    """Sweeps, studies, cells, sessions, failures, problems and sizes of a store.

    A failure is listed when its cell has no answers now; earlier attempts of a cell that has
    succeeded since are counted only. Sweeps that a study ran are marked (`study`), and so are cells
    and failures that no other sweep lists.

    Raises:
        StoreError: there is no such folder.
    """
    layout.require(store)
    with reading(store) as ask:
        counts = _rows(ask, _COUNTS)[0]
        cells = _rows(ask, _CELLS)
        failed = _rows(ask, _FAILED)
        sweeps = _rows(ask, "SELECT * EXCLUDE (path) FROM sweeps ORDER BY created, id")
        problems = _rows(ask, "SELECT * FROM problems ORDER BY path")
    _mark(store, sweeps, (*cells, *failed))
    return {
        "schema_version": 1,
        "store": str(store),
        **counts,
        "sweeps_listed": sweeps,
        "studies_listed": [
            {name: study.get(name) for name in _OF_STUDIES}
            for study in layout.study_documents(store)
        ],
        "cells_listed": cells,
        "failures": failed,
        "problems": problems,
        "size_bytes": {
            name: _size(store / name)
            for name in (
                *("answers", "sessions", "inputs", "artifacts"),
                *("attempts", "sweeps", "studies"),
            )
        },
        "catalogue": str(catalogue.catalogue_path(store)),
    }


def _mark(store: Path, sweeps: Iterable[Document], rows: Iterable[Document]) -> None:
    """Say of sweeps and of cells whether they are a study's alone: its probes and trials."""
    keys: dict[bool, set[str]] = {True: set(), False: set()}
    studied: set[str] = set()
    for document in layout.sweep_documents(store):
        of_study = bool(document.get("study"))
        keys[of_study].update(str(cell.get("key")) for cell in document.get("cells") or ())
        if of_study:
            studied.add(str(document.get("id")))
    alone = keys[True] - keys[False]
    for sweep in sweeps:
        sweep["study"] = sweep["id"] in studied
    for row in rows:
        row["study"] = row["key"] in alone


def _rows(ask: Callable[[str], QueryResult], sql: str) -> list[Document]:
    found = ask(sql)
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
