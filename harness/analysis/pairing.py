"""Which cells make a pair: the axes in which two differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.environments.instruction_sets import OWN
from harness.plan.levels import OWN as OWN_LEVEL
from harness.store.cell_routes import AXES, asked_of, route_of
from harness.store.compiled import given_settings, level_of

COLUMNS = (
    "model",
    "environment",
    "stack",
    "version",
    "backend",
    "level",
    "called",
    "settings",
    "precision",
    "instruction_set",
    "executor",
    "device",
    "device_name",
    "threads",
    "batch",
    "repeat",
    "role",
    "route",
    "converted_in",
    "opset",
    "quantisation",
    "folding",
    "layout",
    "optimise",
    "variant",
    "preprocessing",
    "prepared_in",
    "corruption",
    "mistake",
    "recipe",
    "inputs_key",
)
"""What a cell's object shows of its document, in `sweep --json` and `compare --json`."""

Document = dict[str, Any]
Parts = tuple[Any, ...]


def axis_values(cell: Document) -> dict[str, Parts]:
    """What a cell is on every axis in which cells may differ, in a fixed order.

    Args:
        cell: cell.json. Its `identity` is read where it is there; a sweep's list leaves it out,
            and a part that is None is not known.
    """
    identity = cell.get("identity") or {}
    checkpoint = cell.get("checkpoint") or {}
    converted = (identity.get("artifact") or {}).get("conversion")
    recipe = cell.get("recipe_key")
    unnamed = (identity.get("feeding"), identity.get("pixels")) if recipe is None else (None, None)
    route = route_of(cell)
    # The way ends with the steps that are there for an axis, which is told apart for itself.
    way = cell.get("way", converted) if route is None or route.whole else None
    return {
        "model": (cell.get("model"), checkpoint.get("sha256")),
        "environment": (cell.get("environment"), identity.get("environment")),
        "backend": (cell.get("backend"),),
        "level": (level_of(cell),),
        "settings": (dict(sorted((cell.get("settings") or {}).items())),),
        "precision": (cell.get("precision"),),
        # Cells are older than this axis.
        "instruction_set": (cell.get("instruction_set", OWN),),
        "device": (cell.get("device"), cell.get("device_name")),
        "threads": (cell.get("threads"),),
        "batch": (cell.get("batch"),),
        "variant": (dict(sorted((cell.get("variant") or {}).items())),),
        "preprocessing": (cell.get("preprocessing"), cell.get("prepared_by")),
        "corruption": (cell.get("corruption"), cell.get("corrupted_by")),
        "mistake": (cell.get("mistake"),),
        "recipe": (recipe, *unnamed),
        "class_offset": (checkpoint.get("class_offset"),),
        "output": (checkpoint.get("output"),),
        "route": (route and route.nodes, way, route and route.makers),
        **{name: (cell.get(name),) for name in AXES},
        "executor": (cell.get("executor"),),
        "runner": (identity.get("runner"),),
    }


def axes(a: Document, b: Document) -> list[str]:
    """Names of the axes in which two cells differ, in a fixed order; empty for a repeat.

    The same name with other content is another model, or another environment. Cells of old
    stores over the same images whose pixels differ have another recipe. What is not known of one is not held
    against the other.
    """
    x, y = axis_values(a), axis_values(b)
    if OWN_LEVEL in (*x["level"], *y["level"]):
        # Settings as they are given: they tell the difference.
        x["level"] = y["level"]
    else:
        # What a level stands for is one axis, not two.
        x["settings"], y["settings"] = (given_settings(a),), (given_settings(b),)
    if _differ(x["model"], y["model"]):
        # A conversion's key holds the model's: only the way it took says more.
        x["route"], y["route"] = x["route"][:1], y["route"][:1]
    lock = a.get("lock_sha256")
    if lock and lock == b.get("lock_sha256") and _differ(x["executor"], y["executor"]):
        # The same lock in another place: what else the identities hold is that place, and a
        # conversion's key holds the environment's.
        for name in ("environment", "route", "preprocessing", "corruption"):
            x[name], y[name] = x[name][:1], y[name][:1]
    return [name for name in x if _differ(x[name], y[name])]


def _differ(a: Parts, b: Parts) -> bool:
    return any(x is not None and y is not None and x != y for x, y in zip(a, b, strict=True))


def like(cell: Document, names: Sequence[str]) -> tuple[str, ...]:
    """The cell's values under some names, as something that can be compared and sorted.

    Args:
        cell: cell.json.
        names: its fields, or axes that are no field (`recipe`, `class_offset`).
    """
    own = axis_values(cell)
    values = {**own, **cell, "settings": own["settings"], "level": own["level"]}
    # What old stores do not know of was left to the converters.
    values |= dict.fromkeys(AXES) | asked_of(cell)
    return tuple(repr(values.get(name)) for name in names)
