"""Keeping what a study found: one document each, below `studies/` in the store."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.canonical import write_json
from harness.errors import StoreError
from harness.store import layout

Document = dict[str, Any]

SCHEMA_VERSION = 1


def begin(kind: str, subject: Mapping[str, Any]) -> Document:
    """A study's document before anything is known.

    Args:
        kind: of the study: `ablate-passes`, `bisect-passes`, `bisect-operators` …
        subject: what it is about: `model`, `environment`, `backend` and what else tells.

    Returns:
        `schema_version`, `id`, `kind`, `created`, `complete` (False), `headline` (what
        `harness status` says of it) and the subject.
    """
    now = datetime.now(UTC)
    return {
        "schema_version": SCHEMA_VERSION,
        "id": f"{now:%Y%m%dT%H%M%S}-{kind}-{uuid.uuid4().hex[:6]}",
        "kind": kind,
        "created": now.isoformat(timespec="milliseconds"),
        "complete": False,
        "headline": "begun",
        **subject,
    }


def go_on(store: Path, document: Document) -> Document:
    """A study that is begun, in the place of one that asked the same and was not finished.

    Args:
        store: the results folder.
        document: as `begin` makes it, with `question`: what tells it from other studies.

    Returns:
        The document, with id and beginning of the unfinished one where there is one.
    """
    asked = document["kind"], document["question"]
    for kept in layout.study_documents(store):
        if not kept.get("complete") and (kept.get("kind"), kept.get("question")) == asked:
            return {**document, "id": kept["id"], "created": kept["created"]}
    return document


def keep(store: Path, document: Mapping[str, Any]) -> Path:
    """Write a study's document, in place of what was known of it before.

    Raises:
        StoreError: the store cannot be written.
    """
    path = layout.study_path(store, str(document["id"]))
    write_json(path, dict(document))
    return path


def read(store: Path, study: str) -> Document:
    """A study by its id, or by the beginning of one.

    Raises:
        StoreError: there is none, or several begin so.
    """
    known = [str(one["id"]) for one in layout.study_documents(layout.require(store))]
    fitting = [one for one in known if one == study] or [o for o in known if o.startswith(study)]
    if len(fitting) != 1:
        raise StoreError(
            f"{len(fitting) or 'No'} studies in {store} are called {study}"
            + (f": there are {', '.join(known)}." if known else ": there is none at all."),
            "`harness status` lists them.",
        )
    return layout.read_document(layout.study_path(store, fitting[0]))
