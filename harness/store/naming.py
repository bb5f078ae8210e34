"""What cells are called: the shortest names that tell them apart, and finding them by such names.

A name that is printed anywhere (`onnxruntime-1.31, docker`) selects the same cells when it is
typed, so tables, pages and selectors all take their names from here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from harness.plan.levels import OWN
from harness.store.cell_routes import AXES, CellRoute, route_of
from harness.store.compiled import given_settings, level_of

Document = dict[str, Any]

_TELLING = (
    "backend",
    *AXES,
    "level",
    "settings",
    "variant",
    "precision",
    "instruction_set",
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
_TRIED = {"level", "settings", "optimise"}
"""What studies vary and give names to."""
_WORDS = ("settings", "variant")
"""Axes whose values are several words."""
_NONE_OF = {"settings": "no settings", "variant": "as built by the library"}
_UNCONVERTED = "unconverted"
_LEFT_TO_CONVERTERS = "own"
_FEW = 4
_BREAKS = re.compile(r"[\s,]+")
"""Names are split at commas, and settings at spaces."""


def settings_text(settings: Document, *, whole: bool = True) -> str:
    """Settings as `name=value` words in a fixed order; empty where there are none.

    Args:
        settings: by name; lists are joined by plus signs, as are the entries of a mapping.
        whole: lists in full; else of a long one the first, how many more, and a hash.
    """
    words = (f"{name}={_word(value, whole=whole)}" for name, value in sorted(settings.items()))
    return " ".join(words)


def _word(value: object, *, whole: bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        value = [f"{name}:{entry}" for name, entry in sorted(value.items())]
    if not isinstance(value, list | tuple):
        return _BREAKS.sub("+", str(value))
    joined = "+".join(_BREAKS.sub("+", str(entry)) for entry in value) or "none"
    if whole or len(value) <= _FEW:
        return joined
    return f"{_BREAKS.sub('+', str(value[0]))}+{len(value) - 1}-more~{_hash(joined)}"


def names(cells: Iterable[Document]) -> dict[str, str]:
    """The shortest names that tell cells of the same model apart, by key.

    An environment that has one cell is that cell's name; where it has several, what they differ
    in is added: `openvino-2026.4, default precision`. A route is added where nothing else tells
    two cells apart: `onnxruntime-1.31, keras>onnx:tf2onnx`.
    """
    listed = list(cells)
    return {
        str(cell["key"]): _name(cell, [c for c in listed if _beside(c, cell)]) for cell in listed
    }


def _beside(one: Document, other: Document) -> bool:
    return all(one.get(name) == other.get(name) for name in ("model", "environment", "role"))


def _name(cell: Document, siblings: list[Document]) -> str:
    telling = _telling(cell, siblings)
    parts = [str(cell.get("environment"))]
    if route := _route(cell, [s for s in siblings if _same(telling, s, cell)], siblings):
        parts.append(route)
    # The backend leads: `ENVIRONMENT, BACKEND` is how a person begins.
    if "backend" in telling:
        parts.insert(1, _axis(cell, "backend", siblings))
        telling.remove("backend")
    if cell.get("called") and _TRIED & set(telling):
        telling = [axis for axis in telling if axis not in _TRIED]
        parts.append(_called(cell))
    return ", ".join([*parts, *(_axis(cell, axis, siblings) for axis in telling)])


def _called(cell: Document) -> str:
    """What a study calls the point that it tries: `only FuseOps`; empty without a study."""
    return _BREAKS.sub(" ", str(cell.get("called") or ""))


def _telling(cell: Document, siblings: list[Document]) -> list[str]:
    """The axes that tell a cell from its siblings; a level tells the settings that it stands for."""
    telling = [axis for axis in _TELLING if not _alike(axis, cell, siblings)]
    if level_of(cell) != OWN:
        telling = [axis for axis in telling if axis != "settings"]
        peers = [s for s in siblings if level_of(s) == level_of(cell)]
        if any(given_settings(peer) != given_settings(cell) for peer in peers):
            telling.insert(telling.index("level") + 1 if "level" in telling else 0, "settings")
    elif "level" in telling and cell.get("settings"):
        telling.remove("level")
    return telling


def _alike(axis: str, cell: Document, siblings: list[Document]) -> bool:
    """Whether an axis tells nothing: not known of the cell, or the same for all that know it."""
    own = cell.get(axis)
    return own is None or all(s.get(axis) in (None, own) for s in siblings)


def _same(axes: list[str], one: Document, other: Document) -> bool:
    return all(one.get(axis) in (None, other.get(axis)) for axis in axes)


def _route(cell: Document, rivals: list[Document], siblings: list[Document]) -> str:
    """The cell's route, where rivals took another; empty where they did not.

    The format that all siblings begin with is left out of a longer route. What is printed always
    holds a `>`, so that it is never taken for a backend's name.
    """
    own = route_of(cell)
    known = [route for one in rivals if (route := route_of(one)) is not None]
    if own is None or not any(_apart(own, route) for route in known):
        return ""
    if len(own.nodes) == 1:
        return _UNCONVERTED
    words = list(own.nodes)
    for place in range(1, len(words)):
        makers = {_maker(r, place) for r in known if r.nodes == own.nodes}
        if own.makers is not None and makers - {None, own.makers[place - 1]}:
            words[place] += f"@{own.makers[place - 1]}"
    begun = {route.nodes[0] for one in siblings if (route := route_of(one)) is not None}
    return ">".join(words[1:] if len(begun) == 1 and len(words) > 2 else words)


def _apart(a: CellRoute, b: CellRoute) -> bool:
    """Whether two routes differ in formats or tools, or in where a step is made, as far as known."""
    makers = None in (a.makers, b.makers) or a.makers == b.makers
    return a.nodes != b.nodes or not makers


def _maker(route: CellRoute, place: int) -> str | None:
    return None if route.makers is None else route.makers[place - 1]


def _took(cell: Document, part: str) -> bool:
    """Whether a cell took the route that a part of a name tells."""
    own = route_of(cell)
    if own is None:
        return False
    if part == _UNCONVERTED:
        return len(own.nodes) == 1
    if ">" in part and part == cell.get("route"):
        return True
    asked = [word.partition("@")[::2] for word in part.split(">")]
    if len(asked) == len(own.nodes) - 1 and len(asked) > 1:
        asked = [(own.nodes[0], ""), *asked]
    return (
        len(asked) > 1
        and [word for word, _ in asked] == list(own.nodes)
        and all(maker in ("", _maker(own, place)) for place, (_, maker) in enumerate(asked))
    )


def _axis(cell: Document, axis: str, siblings: list[Document]) -> str:
    if axis in _WORDS:
        own, others = cell.get(axis) or {}, [s.get(axis) or {} for s in siblings]
        if axis == "settings" and level_of(cell) != OWN:
            own = given_settings(cell)
            others = [given_settings(s) for s in siblings if level_of(s) == level_of(cell)]
        telling = {
            name for other in others for name in {*own, *other} if own.get(name) != other.get(name)
        }
        told = settings_text({n: v for n, v in own.items() if n in telling}, whole=False)
        return told or _NONE_OF[axis]
    return spoken(cell, axis)


def spoken(cell: Document, axis: str) -> str:
    """A cell's value on an axis of one word, as names have it: `batch 8`, `opset 17`."""
    value = cell.get(axis)
    return {
        "level": "own settings" if value in (None, OWN) else f"level {value}",
        "precision": f"{value} precision",
        "instruction_set": "own instruction set" if value == "own" else f"up to {value}",
        "threads": f"{value} thread" if value == 1 else f"{value} threads",
        "batch": f"batch {value}",
        "preprocessing": "reference pixels"
        if value == "reference"
        else f"pixels by {_joined(value)}",
        "corruption": "no corruption" if value == "none" else f"corrupted by {value}",
        "mistake": "no mistake" if value == "none" else f"mistake {value}",
        "recipe": f"recipe {value}",
        "opset": f"{value} opset" if value == _LEFT_TO_CONVERTERS else f"opset {value}",
        "quantisation": "not quantised" if value == "none" else f"{value} quantisation",
        "folding": f"{value} folding"
        if value == _LEFT_TO_CONVERTERS
        else ("folded" if value in (True, "true") else "not folded"),
        "layout": f"{value} layout",
        "optimise": "not optimised" if value == "none" else f"optimised by {_optimiser(value)}",
    }.get(axis, str(value))


def _joined(value: object) -> str:
    """A preprocessing's settings joined by plus signs: commas are what names are split at."""
    return str(value).replace(",", "+")


def _optimiser(value: object) -> str:
    """An optimiser with its passes; of many the first, how many more, and a hash of all."""
    told = _joined(value)
    passes = told.split("+")
    if len(passes) <= _FEW:
        return told
    return f"{passes[0]}+{len(passes) - 1}-more~{_hash(told)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


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
            own = given_settings(cell) if axis == "settings" else cell.get(axis)
            return not own
    if part and part == _called(cell):
        return True
    if _took(cell, part):
        return True
    known_axes = [a for a in _TELLING if a not in _WORDS and cell.get(a) is not None]
    if part in {spoken(cell, axis) for axis in known_axes}:
        return True
    wanted = set(part.split())
    known = (
        settings_text(cell.get(axis) or {}, whole=whole).split()
        for axis in _WORDS
        for whole in (True, False)
    )
    return bool(wanted) and any(wanted <= set(words) for words in known)
