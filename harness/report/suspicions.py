"""Suspicions of cells, for the terminal, the page, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from harness.analysis.suspicions import Suspicion

Document = dict[str, Any]

_STYLES = {"certain": "bold red", "likely": "yellow", "possible": "dim"}


def documents(found: Mapping[str, Sequence[Suspicion]]) -> list[Document]:
    """One object a suspicion with the cell's `key`; for `sweep --json` and the functions below.

    Args:
        found: suspicions by the cell's key.
    """
    return [{"key": key, **s.document()} for key, listed in found.items() for s in listed]


def table(suspicions: Sequence[Document], names: Mapping[str, str]) -> Table | None:
    """A table for the terminal; None where nothing is suspected.

    Args:
        suspicions: what `documents` gives.
        names: the cells' names by key.
    """
    if not suspicions:
        return None
    made = Table(
        title="Suspicions, from the outputs alone",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
    )
    for head in ("cell", "confidence", "suspected", "evidence, and what to look at"):
        made.add_column(head, overflow="fold")
    for one in suspicions:
        made.add_row(
            Text(_name(one, names)),
            Text(one["confidence"], style=_STYLES.get(one["confidence"], "")),
            Text(f"{one['title']} ({one['kind']})"),
            Text(" ".join([*one["evidence"], one["remedy"]])),
        )
    return made


def markdown(suspicions: Sequence[Document], names: Mapping[str, str]) -> list[str]:
    """Lines of Markdown, a list entry a suspicion; no lines where nothing is suspected."""
    if not suspicions:
        return []
    lines = ["### Suspicions, from the outputs alone", ""]
    for one in suspicions:
        head = f"- **{_plain(_name(one, names))}**: {_plain(one['title'])}"
        said = _plain(" ".join(one["evidence"]))
        lines.append(f"{head} ({one['confidence']}, `{one['kind']}`). {said} {one['remedy']}")
    return [*lines, ""]


def html(suspicions: Sequence[Document], names: Mapping[str, str]) -> str:
    """A section of the page, everything escaped; "" where nothing is suspected."""
    if not suspicions:
        return ""
    entries = []
    for one in suspicions:
        said = "".join(f"<li>{escape(sentence)}</li>" for sentence in one["evidence"])
        entries.append(
            f'<article class="suspicion {escape(one["confidence"])}">'
            f"<h3>{escape(_name(one, names))}: {escape(one['title'])}</h3>"
            f"<p>{escape(one['confidence'])} · <code>{escape(one['kind'])}</code></p>"
            f"<ul>{said}</ul><p>{escape(one['remedy'])}</p></article>"
        )
    body = "".join(entries)
    return f'<section id="suspicions"><h2>Suspicions, from the outputs alone</h2>{body}</section>'


def _name(one: Document, names: Mapping[str, str]) -> str:
    key = str(one["key"])
    return f"{key[:8]} {names.get(key, '')}".rstrip()


def _plain(text: str) -> str:
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return text
