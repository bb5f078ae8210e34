"""What a store's documents say, as rows for the catalogue's tables; Parquet files by view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.canonical import key_of
from harness.environments.instruction_sets import OWN
from harness.errors import StoreError
from harness.execution.bundles import validate
from harness.store import layout
from harness.store.cell_routes import AXES
from harness.store.compiled import compile_costs, compiled_of, level_of
from harness.store.layout import Document
from harness.store.load import open_array
from harness.store.naming import settings_text
from harness.store.session_rows import session_rows

Row = dict[str, Any]


@dataclass
class Rows:
    """Rows on their way into the catalogue, by table; and Parquet files, by view."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    parquet: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)

    def add(self, table: str, row: Row) -> None:
        """Add a row to a table."""
        self.tables.setdefault(table, []).append(row)

    def add_file(self, view: str, path: Path, key: str) -> None:
        """Add the Parquet file of the bundle `key` to a view."""
        self.parquet.setdefault(view, []).append((path.resolve(), key))


def collect(store: Path) -> Rows:
    """Rows of every readable document of a store; the others become rows of `problems`."""
    rows = Rows()
    _each(rows, store, layout.input_folders(store), _add_inputs)
    _each(rows, store, layout.answer_folders(store), _add_answers)
    listings = layout.newest_listings(layout.sweep_documents(store))
    images = {row["key"]: row["images_key"] for row in rows.tables.get("inputs", [])}
    for row in rows.tables.get("cells", []):
        row["inputs_key"] = listings.get(row["key"], {}).get("inputs_key") or row["inputs_key"]
        row["images_key"] = images.get(row["inputs_key"]) or row["inputs_key"]
        row["level"] = listings.get(row["key"], {}).get("level") or row["level"]
    ordered = sorted(rows.tables.get("cells", []), key=_place)
    if ordered:
        rows.tables["cells"] = [{**row, "place": place} for place, row in enumerate(ordered)]
    _each(rows, store, layout.session_folders(store), _add_session)
    _each(rows, store, layout.sweep_files(store), _add_sweep)
    _each(rows, store, layout.attempt_files(store), _add_attempt)
    return rows


def _place(row: Row) -> tuple[str, ...]:
    return tuple(
        str(row[n])
        for n in ("model", "environment", "backend", "settings", "executor", "role", "key")
    )


def _each(
    rows: Rows, store: Path, paths: Iterable[Path], add: Callable[[Rows, Path, str], None]
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


def _add_inputs(rows: Rows, path: Path, relative: str) -> None:
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
        **_some(document, "pixels_key", "images_key", "kind", "layout"),
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


def _add_answers(rows: Rows, path: Path, relative: str) -> None:
    manifest = validate(path)
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
        **_some(cell, "route", "inputs_key", "preprocessing", "corruption", "mistake", "recipe"),
        # Cells are older than this axis.
        "instruction_set": cell.get("instruction_set", OWN),
        "level": level_of(cell),
        "settings": settings_text(cell.get("settings") or {}),
        "variant": settings_text(cell.get("variant") or {}),
        "converted_in": cell.get("converted_in"),
        **_asked(cell),
        "role": cell.get("role", "cell"),
        "class_offset": offset,
        **_some(answers, "kind", "nonfinite", "load_ns", "compile_ns", "first_inference_ns"),
        "answers_ns": answers.get("duration_ns"),
        **compile_costs(answers),
        **_compiled(rows, path.name, answers),
        "answers_sha256": _content(manifest, [str(o["file"]) for _, o in sorted(outputs.items())]),
        "images": next(iter(shapes.values()))[0],
        "classes": None,
        "path": relative,
    }
    if score_index is not None:
        row["classes"] = math.prod(shapes[int(score_index)][1:]) - offset
        rows.add_file("answers", _parquet(path / "topk.parquet"), path.name)
    rows.add("cells", row)


def _compiled(rows: Rows, key: str, answers: Document) -> Row:
    """What a cell was compiled to, as columns; its operators and passes go to their own tables."""
    found = compiled_of(answers)
    for kind, number in found.operators.items() if found else ():
        rows.add("operators", {"key": key, "kind": kind, "number": number})
    for place, name in enumerate(found.passes or () if found else ()):
        rows.add("passes", {"key": key, "place": place, "name": name})
    return {
        "compiled_form": (found.form or None) if found else None,
        "compiled_sha256": (found.sha256 or None) if found else None,
        "operator_count": found.count if found else None,
        "code_bytes": found.code_bytes if found else None,
        "compiled_absent": (found.absent or None) if found else None,
    }


def _content(manifest: Document, files: Sequence[str]) -> str:
    """A hash of what output files hold: the same for answers that are equal bit for bit."""
    return key_of([manifest["files"][file]["sha256"] for file in files])


def _add_session(rows: Rows, path: Path, relative: str) -> None:
    validate(path)
    document = layout.read_document(path / "session.json")
    parquet = _parquet(path / "timings.parquet")
    found = session_rows(path.name, document)
    rows.add("sessions", {**found.pop("sessions")[0], "path": relative})
    for table, content in found.items():
        for row in content:
            rows.add(table, row)
    rows.add_file("timings", parquet, path.name)


def _add_sweep(rows: Rows, path: Path, relative: str) -> None:
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


def _add_attempt(rows: Rows, path: Path, relative: str) -> None:
    document = layout.read_document(path)
    said = _some(document, "kind", "message", "exit_status", "signal", "started", "ended")
    cell = document.get("cell") or {}
    row = {
        "key": document["key"],
        **_some(cell, "model", "environment", "backend", "precision", "device", "threads"),
        **_some(cell, "batch", "executor", "route"),
        **_asked(cell),
        "instruction_set": cell.get("instruction_set", OWN) if cell else None,
        "level": level_of(cell) if cell else None,
        "settings": settings_text(cell.get("settings") or {}),
        **said,
        "path": relative,
    }
    rows.add("failures", row)


def _asked(cell: Document) -> Row:
    """What was asked of a cell's conversions, as text: `17`, `static`, `false`, `own`."""
    return {axis: None if cell.get(axis) is None else str(cell[axis]).lower() for axis in AXES}


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
