"""What cells are called: the shortest names that tell them apart, and finding them by such names.

A name that is printed anywhere (`onnxruntime-1.31, docker`) selects the same cells when it is
typed, so tables, pages and selectors all take their names from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Document = dict[str, Any]

_TELLING = (
    "backend",
    "settings",
    "variant",
    "precision",
    "device",
    "threads",
    "batch",
    "executor",
    "preprocessing",
    "corruption",
    "mistake",
    "recipe",
)
_DIGEST = re.compile(r"(@sha256:[0-9a-f]{12})[0-9a-f]+")
_WORDS = ("settings", "variant")
"""Axes whose values are several words."""
_NONE_OF = {"settings": "no settings", "variant": "as built by the library"}


def settings_text(settings: Document) -> str:
    """Settings as `name=value` words in a fixed order; empty where there are none."""
    return " ".join(f"{name}={_word(value)}" for name, value in sorted(settings.items()))


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def names(cells: Iterable[Document]) -> dict[str, str]:
    """The shortest names that tell cells of the same model apart, by key.

    An environment that has one cell is that cell's name; where it has several, what they differ
    in is added: `openvino-2026.4, default precision`.
    """
    listed = list(cells)
    return {
        str(cell["key"]): _name(cell, [c for c in listed if _beside(c, cell)]) for cell in listed
    }


def _beside(one: Document, other: Document) -> bool:
    return all(one.get(name) == other.get(name) for name in ("model", "environment", "role"))


def _name(cell: Document, siblings: list[Document]) -> str:
    parts = [str(cell.get("environment"))]
    for axis in _TELLING:
        own, known = cell.get(axis), [s.get(axis) for s in siblings if s.get(axis) is not None]
        if own is None or all(value == own for value in known):
            continue
        parts.append(_axis(cell, axis, siblings))
    return ", ".join(parts)


def _axis(cell: Document, axis: str, siblings: list[Document]) -> str:
    if axis in _WORDS:
        own = cell.get(axis) or {}
        telling = {
            name
            for sibling in siblings
            for name in {*own, *(sibling.get(axis) or {})}
            if own.get(name) != (sibling.get(axis) or {}).get(name)
        }
        return settings_text({n: v for n, v in own.items() if n in telling}) or _NONE_OF[axis]
    return _spoken(cell, axis)


def _spoken(cell: Document, axis: str) -> str:
    value = cell.get(axis)
    return {
        "precision": f"{value} precision",
        "threads": f"{value} thread" if value == 1 else f"{value} threads",
        "batch": f"batch {value}",
        "preprocessing": "reference pixels"
        if value == "reference"
        else f"pixels by {_joined(value)}",
        "corruption": "no corruption" if value == "none" else f"corrupted by {value}",
        "mistake": "no mistake" if value == "none" else f"mistake {value}",
        "recipe": f"recipe {value}",
    }.get(axis, str(value))


def _joined(value: object) -> str:
    """A preprocessing's settings joined by plus signs: commas are what names are split at."""
    return str(value).replace(",", "+")


def is_environment(cell: Document, selector: str) -> bool:
    """Whether a cell's environment is called so, as a whole.

    `package==version` and a digest in full mean the environment that was made of them.
    """
    return _normal(str(cell.get("environment"))) == _normal(selector)


def is_described(cell: Document, selector: str) -> bool:
    """Whether `ENVIRONMENT/BACKEND`, or a name as `names` makes them, is true of a cell.

    The environment's own name may hold slashes, so it is never looked for by splitting.
    """
    wanted = _normal(selector)
    environment = _normal(str(cell.get("environment")))
    for head in (environment, f"{environment}/{cell.get('backend')}"):
        if wanted == head:
            return True
        if wanted.startswith(f"{head}, "):
            parts = wanted.removeprefix(f"{head}, ").split(", ")
            return all(_is_true(cell, part) for part in parts)
    return False


def _normal(name: str) -> str:
    # `--env onnxruntime==1.25.1` makes an environment called onnxruntime-1.25.1.
    return _DIGEST.sub(r"\1", name).replace("==", "-")


def _is_true(cell: Document, part: str) -> bool:
    for axis, none in _NONE_OF.items():
        if part == none:
            return not cell.get(axis)
    if part in {_spoken(cell, axis) for axis in _TELLING if axis not in _WORDS}:
        return True
    wanted = set(part.split())
    known = (settings_text(cell.get(axis) or {}).split() for axis in _WORDS)
    return bool(wanted) and any(wanted <= set(words) for words in known)
