"""Suspicions of cells, for the terminal and for Markdown; the page has them in its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from harness.report import words

Document = dict[str, Any]

_SAID = ("confidence", "kind", "title", "evidence", "remedy")
_STYLES = {"certain": "bold red", "likely": "yellow", "possible": "dim"}


@dataclass(frozen=True)
class Suspected:
    """What is suspected of one cell, or in the same words of several.

    Attributes:
        said: the suspicion, as a sweep's result has it.
        keys: of the cells, in the result's order.
    """

    said: Document
    keys: tuple[str, ...]

    def names(self, names: Mapping[str, str]) -> tuple[str, ...]:
        """The cells' names, where they are known."""
        return tuple(names.get(key, "") for key in self.keys)


def gathered(suspicions: Sequence[Document]) -> tuple[Suspected, ...]:
    """Suspicions in the same words made one, each where the first of them stands."""
    found: dict[tuple[str, ...], list[Document]] = {}
    for one in suspicions:
        found.setdefault(tuple(str(one[name]) for name in _SAID), []).append(one)
    return tuple(
        Suspected(alike[0], tuple(str(one["key"]) for one in alike)) for alike in found.values()
    )


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
    for several in gathered(suspicions):
        one = several.said
        made.add_row(
            Text(_name(several, names)),
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
    for several in gathered(suspicions):
        one = several.said
        head = f"- **{_plain(_name(several, names))}**: {_plain(one['title'])}"
        said = _plain(" ".join(one["evidence"]))
        lines.append(f"{head} ({one['confidence']}, `{one['kind']}`). {said} {one['remedy']}")
    return [*lines, ""]


def _name(one: Suspected, names: Mapping[str, str]) -> str:
    """The first cell, and how many others."""
    key, *others = one.keys
    first = f"{key[:8]} {names.get(key, '')}".rstrip()
    return f"{first} and {words.plural(len(others), 'other cell')}" if others else first


def _plain(text: str) -> str:
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return text
