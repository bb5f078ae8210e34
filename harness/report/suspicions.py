"""Suspicions of cells, for the terminal and for Markdown; the page has them in its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

Document = dict[str, Any]

_STYLES = {"certain": "bold red", "likely": "yellow", "possible": "dim"}


def table(suspicions: Sequence[Document], names: Mapping[str, str]) -> Table | None:
    """A table for the terminal; None where nothing is suspected.

    Args:
        suspicions: as a sweep's result has them.
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


def _name(one: Document, names: Mapping[str, str]) -> str:
    key = str(one["key"])
    return f"{key[:8]} {names.get(key, '')}".rstrip()


def _plain(text: str) -> str:
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return text
