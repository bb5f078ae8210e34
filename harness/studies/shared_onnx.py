"""The ONNX model that two cells have in common, and the sweep of one cell for a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.execution.bundles import artifact_folder, is_whole
from harness.execution.conversion_tasks import stored_artifact
from harness.plan.cells import Cell
from harness.plan.conversions import Conversion
from harness.spec.load import check_spec
from harness.spec.models import SweepSpec
from harness.store.cell_routes import AXIS_STEPS

_ONNX = "onnx"
_FREELY = 1e9
"""Conversions of parts are not refused for what they change: that is what is looked for."""


@dataclass(frozen=True)
class SharedModel:
    """An ONNX file that both cells were made from.

    Attributes:
        path: the file.
        input_axes: how what the cells are fed is transposed to become its input; None: not at all.
        routes: from it to what each cell executes, as formats with their tools.
    """

    path: Path
    input_axes: tuple[int, ...] | None
    routes: tuple[str, str]


def shared_model(store: Path, a: Cell, b: Cell) -> SharedModel:
    """The last ONNX file on the way of both cells.

    Raises:
        UsageError: there is none, or a conversion that makes it is not in the store any more.
    """
    chains = [list(one.conversion.chain) if one.conversion else [] for one in (a, b)]
    own_steps = [_own(chain) for chain in chains]
    common = [step for step in own_steps[0] if step.key in {other.key for other in own_steps[1]}]
    made = next((step for step in reversed(common) if step.target_format == _ONNX), None)
    if made is not None:
        if not is_whole(artifact_folder(store, made.key)):
            raise UsageError(
                f"The ONNX file that {made.way} makes is not in {store} any more.",
                "Sweep the two cells again, with --retry.",
            )
        path, axes = stored_artifact(store, made)
        fed = axes.get("input_axes")
        rest = [_rest(steps, made) for steps in own_steps]
        return SharedModel(Path(path), tuple(fed) if fed else None, (rest[0], rest[1]))
    if a.model_format == _ONNX and a.model_sha256 == b.model_sha256:
        rest = [_rest(steps, None) for steps in own_steps]
        return SharedModel(a.model_path, None, (rest[0], rest[1]))
    raise UsageError(
        f"No ONNX file is on the way of both cells ({a.route} and {b.route}): operators are cut "
        "out of ONNX.",
        "Convert the model (harness model convert MODEL --to onnx) and sweep that file over both.",
    )


def part_spec(
    side: SweepSpec, route: str, model: Path, fed: Path, *, name: str, backend: str
) -> SweepSpec:
    """The sweep of one cell over a part of its model.

    Args:
        side: of the cell, see `question.Side`.
        route: from the ONNX file to what the backend executes.
        model: the part.
        fed: its input, a `.npy` of one row.
        name: of the part.
        backend: the cell's.
    """
    document = side.model_dump(exclude_unset=True)
    axes: dict[str, Any] = {
        name: value
        for name, value in dict(document.get("axes") or {}).items()
        if name not in {"preprocessing", "corruption", "mistake", "recipe", "variant"}
    }
    axes |= {"route": [route] if route != _ONNX else ["auto"], "batch": [1]}
    tolerant = {
        **dict(document.get("conversions") or {}),
        **dict.fromkeys(("tolerance", "float16_tolerance", "quantised_tolerance"), _FREELY),
    }
    document |= {
        "name": "part",
        "models": [{"path": model, "name": name, "output": "values"}],
        "inputs": {"path": fed},
        "axes": axes,
        "conversions": tolerant,
        "timing": {"enabled": False},
    }
    document.pop("data", None)
    document["environments"] = [{**document["environments"][0], "backends": [backend]}]
    return check_spec(document, "part")


def _own(chain: list[Conversion]) -> list[Conversion]:
    """The steps that the route names, without those at the end that an axis asked for."""
    steps = list(chain)
    while steps and steps[-1].converter.partition(">")[2] in AXIS_STEPS:
        steps.pop()
    return steps


def _rest(steps: list[Conversion], made: Conversion | None) -> str:
    """`onnx>torch`: what is left of a way behind a step; behind none, all of it."""
    keys = [step.key for step in steps]
    left = steps if made is None else steps[keys.index(made.key) + 1 :]
    return ">".join([_ONNX, *(step.converter.partition(">")[2] for step in left)])
