"""Where things stand in a store, and reading its small documents.

A store is a folder of whole bundles (`answers`, `sessions`, `inputs`), plain documents (`sweeps`,
`attempts`) and a catalogue that can be made again from them. This module only reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import StoreError

CATALOGUE = "catalogue.duckdb"

_VERSIONS = {"session.json": (1, 2)}
"""Of documents that had others than 1; older ones lack what came later."""

Document = dict[str, Any]


def sweep_path(store: Path, sweep_id: str) -> Path:
    """The document of a sweep."""
    return store / "sweeps" / sweep_id / "sweep.json"


def study_path(store: Path, study_id: str) -> Path:
    """The document of a study."""
    return store / "studies" / study_id / "study.json"


def require(store: Path) -> Path:
    """The store itself, when it is a folder.

    Raises:
        StoreError: there is no such folder, or it is a file.
    """
    if not store.is_dir():
        raise StoreError(
            f"There is no results folder {store}.",
            "Run `harness sweep` first, or name the folder with --store DIR.",
        )
    return store


def answer_folders(store: Path) -> list[Path]:
    """Every folder that may be an answers bundle, by key. Staged folders are left out."""
    return _keyed_folders(store / "answers")


def input_folders(store: Path) -> list[Path]:
    """Every folder that may be an inputs bundle, by key."""
    return _keyed_folders(store / "inputs")


def session_folders(store: Path) -> list[Path]:
    """Every folder that may be a session bundle, by id."""
    return _folders(store / "sessions")


def sweep_files(store: Path) -> list[Path]:
    """Every sweep document, by id."""
    return [f / "sweep.json" for f in _folders(store / "sweeps") if (f / "sweep.json").is_file()]


def attempt_files(store: Path) -> list[Path]:
    """Every attempt document, by cell key and time."""
    found = (
        folder / "attempt.json"
        for cell in _folders(store / "attempts")
        for folder in _folders(cell)
    )
    return [path for path in found if path.is_file()]


def _keyed_folders(root: Path) -> list[Path]:
    return [folder for shard in _folders(root) for folder in _folders(shard)]


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if not p.name.startswith(".") and p.is_dir())


def read_document(path: Path) -> Document:
    """The JSON object of a small document, of a schema version that this harness reads.

    Raises:
        StoreError: the file is missing, is not a JSON object, or has another schema version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged: {error}.", "Remove its folder; the next sweep makes it again."
        ) from error
    if not isinstance(value, dict):
        raise StoreError(
            f"{path} is damaged: not a JSON object.",
            "Remove its folder; the next sweep makes it again.",
        )
    known = _VERSIONS.get(path.name, (1,))
    if value.get("schema_version") not in known:
        raise StoreError(
            f"{path} has schema version {value.get('schema_version')!r}; this harness reads "
            f"{' and '.join(map(str, known))}.",
            "Use the harness that wrote it, or another --store.",
        )
    return value


def sweep_documents(store: Path) -> Iterator[Document]:
    """Readable sweeps, oldest first; unreadable ones are left to the catalogue's `problems`."""
    documents = []
    for path in sweep_files(store):
        try:
            documents.append(read_document(path))
        except StoreError:
            continue
    yield from sorted(documents, key=lambda d: (str(d.get("created", "")), str(d.get("id", ""))))


def study_documents(store: Path) -> Iterator[Document]:
    """Readable studies (ablations, bisections), oldest first."""
    documents = []
    for folder in _folders(store / "studies"):
        try:
            documents.append(read_document(folder / "study.json"))
        except StoreError:
            continue
    yield from sorted(documents, key=lambda d: (str(d.get("created", "")), str(d.get("id", ""))))


def newest_listings(documents: Iterable[Document]) -> dict[str, Document]:
    """What the newest sweep that lists a cell says of it, by the cell's key.

    Names and labels are no part of a key: a later sweep may have found a cell finished under
    other names, or with other labels (its `inputs_key`).

    Args:
        documents: sweeps, oldest first.
    """
    return {
        str(cell["key"]): cell
        for document in documents
        for cell in document.get("cells") or []
        if isinstance(cell, dict) and cell.get("key")
    }
