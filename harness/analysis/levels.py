"""Levels and settings of one backend side by side: what each changes, which change nothing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis import pairing
from harness.plan.levels import NAMED, OWN
from harness.store.cell_routes import asked_of, route_of
from harness.store.compiled import level_of

Document = dict[str, Any]
Effect = Literal["reference", "inert", "same-form", "changes", "unstable", "unknown", "failed"]

_SHARED = (
    *("model", "environment", "backend", "precision", "instruction_set", "executor"),
    *("device", "device_name", "threads", "batch", "inputs_key", "recipe"),
    *("preprocessing", "corruption", "mistake", "variant"),
    *("opset", "quantisation", "folding", "layout"),
)
_COSTS = ("load_ns", "compile_ns", "first_inference_ns", "compile_peak_mib", "compile_cache")
_BETWEEN = ("flips", "images", "flip_share", "flip_low", "flip_high", "identical", "max_abs_diff")
_TIMES = ("time_ratio", "time_low", "time_high", "time_scenario", "time_verdict")


@dataclass(frozen=True)
class LevelGroup:
    """Cells that differ in what a compiler, or an ONNX optimiser before it, was to do alone.

    Attributes:
        keys: of at least two cells: files as they are first, by level, then as the sweep has them.
        reference: what the others are set against; None where none has answers.
    """

    keys: tuple[str, ...]
    reference: str | None


def group_levels(
    cells: Sequence[Document], answered: Collection[str], leading: Collection[str]
) -> list[LevelGroup]:
    """The cells of a sweep that are alike in all but the axes of `inert.TUNED`, where several are.

    The reference is the model's own if it is one of them, else the level `default`, else the
    first that has answers; a file as it is comes before one that was optimised.

    Args:
        cells: cell.json of each, without controls.
        answered: keys of those that have answers.
        leading: keys of the models' references.
    """
    found: dict[tuple[object, ...], list[Document]] = {}
    for cell in cells:
        route = route_of(cell)
        # Of a cell without answers less is known: what nobody tells counts as the usual.
        known = {name: value for name, value in cell.items() if value is not None}
        alike = (*pairing.like(known, _SHARED), route and route.nodes)
        found.setdefault(alike, []).append(cell)
    groups = []
    for members in found.values():
        if len(members) < 2:
            continue
        members.sort(key=_place)
        candidates = [cell for cell in members if cell["key"] in answered]
        reference = min(
            candidates,
            key=lambda c: (c["key"] not in leading, _is_optimised(c), level_of(c) != "default"),
            default=None,
        )
        keys = tuple(str(cell["key"]) for cell in members)
        groups.append(LevelGroup(keys, str(reference["key"]) if reference else None))
    return groups


def _place(cell: Document) -> tuple[bool, int]:
    level = level_of(cell)
    return _is_optimised(cell), NAMED.index(level) if level in NAMED else len(NAMED)


def _is_optimised(cell: Document) -> bool:
    return "optimise" in asked_of(cell)


def levels_of(
    groups: Sequence[LevelGroup],
    cells: Sequence[Document],
    pairs: Sequence[Document],
    noise: Sequence[Document],
    failures: Sequence[Document],
) -> list[Document]:
    """One object for each group of which a level was asked for, or a compiled form is known.

    Args:
        groups: as `group_levels` makes them.
        cells: the rows of a sweep's result.
        pairs: its pairs, judged: those with a group's reference begin with it.
        noise: its controls' pairs.
        failures: why cells have no answers.

    Returns:
        Objects with `model`, `environment`, `backend`, `reference` (a key), `repeatable` (whether
        the same cell was compiled twice to the same form; None: not seen) and `rows`: `key`,
        `level`, `called`, `settings`, `status`, `kind` (of a failure), what they were compiled to
        (`compiled`) and at what cost, what they differ by from the reference (None for itself),
        `effect`, and `same_as`: keys of those in the group from which they differ in nothing.
    """
    rows = {str(cell["key"]): cell for cell in cells}
    by_pair = {(str(pair["a"]), str(pair["b"])): pair for pair in pairs}
    kinds = {str(one["key"]): str(one["kind"]) for one in failures}
    again = {str(pair["a"]): pair["compiled"] for pair in noise}
    found = []
    for group in groups:
        members = [rows[key] for key in group.keys]
        if not any(level_of(cell) != OWN or cell["compiled"] for cell in members):
            continue
        first = members[0]
        repeatable = _repeatable([again[key] for key in group.keys if key in again])
        found.append(
            {
                **{name: first[name] for name in ("model", "environment", "backend")},
                "reference": group.reference,
                "repeatable": repeatable,
                "rows": [
                    _row(cell, group, by_pair, kinds, repeatable=repeatable) for cell in members
                ],
            }
        )
    return found


def _repeatable(forms: Sequence[str | None]) -> bool | None:
    if "other" in forms:
        return False
    return True if "same" in forms else None


def _row(
    cell: Document,
    group: LevelGroup,
    pairs: Mapping[tuple[str, str], Document],
    kinds: Mapping[str, str],
    *,
    repeatable: bool | None,
) -> Document:
    key = str(cell["key"])
    pair = pairs.get((str(group.reference), key))
    same_as = [
        other
        for other in group.keys
        for found in (pairs.get((key, other)), pairs.get((other, key)))
        if found is not None and found["inert"]
    ]
    return {
        "key": key,
        "level": level_of(cell),
        **{name: cell[name] for name in ("called", "settings", "status")},
        "kind": kinds.get(key) if cell["status"] == "failed" else None,
        "top1": cell["top1"],
        "compiled": cell["compiled"],
        **{name: cell[name] for name in _COSTS},
        **{name: pair[name] if pair else None for name in (*_BETWEEN, *_TIMES)},
        "effect": _effect(key, group, pair, repeatable=repeatable),
        "same_as": same_as,
    }


def _effect(
    key: str, group: LevelGroup, pair: Document | None, *, repeatable: bool | None
) -> Effect:
    if key == group.reference:
        return "reference"
    if pair is None:
        return "failed"
    if pair["inert"]:
        return "inert"
    if pair["compiled"] == "same":
        return "same-form"
    if pair["compiled"] == "other":
        return "unstable" if repeatable is False else "changes"
    return "unknown"
