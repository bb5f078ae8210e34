"""What a person wants of a conversion, and which steps of a route can do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from harness.plan.routes import Maker, Route, Step
from harness.spec.axes import Axes
from harness.spec.optimise import NONE, TOOLS, read_optimise

OWN = "own"
NO_QUANTISATION = "none"
STATIC = "static"

# Where no step of a route can do it, an ONNX file can be changed after the fact.
_AFTERWARDS = {
    "opset": "onnx>onnx:opset",
    "quantisation": "onnx>onnx:quantise",
    "folding": "onnx>onnx:fold",
}
OPTIMISERS = {tool: f"onnx>onnx:{tool}" for tool in TOOLS}
"""The step for each value of `optimise`, which is put where the model last is an ONNX file."""

# Asked of every step that can: the others decide what is made in the end.
_EVERYWHERE = frozenset({"opset", "folding"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """A point on the axes of conversions; `own` leaves it to the converters.

    Attributes:
        opset: of the ONNX files on the way.
        quantisation: `none`, `dynamic`, `static` or `float16`.
        folding: whether constants are folded.
        layout: `nchw` or `nhwc`: of the input of what is made.
        optimise: which optimiser the ONNX file goes through, and by which passes (`spec.optimise`).
    """

    opset: int | str = OWN
    quantisation: str = NO_QUANTISATION
    folding: bool | str = OWN
    layout: str = OWN
    optimise: str = NONE

    @property
    def asked(self) -> dict[str, Any]:
        """What is not left to the converters."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value not in (OWN, NO_QUANTISATION, NONE)
        }


NO_WISHES = Wishes()


def wishes_of(axes: Axes) -> tuple[Wishes, ...]:
    """Every combination that a sweep asks for."""
    points = product(axes.opset, axes.quantisation, axes.folding, axes.layout, axes.optimise)
    return tuple(dict.fromkeys(Wishes(*point) for point in points))


def granted(route: Route, wishes: Wishes, own: Maker, others: Sequence[Maker]) -> Route | str:
    """The route with its steps told what is wanted; a text says what none of them can do."""
    offered = {maker.name: maker.converters for maker in (*others, own)}
    # First, so that what is asked for beside it is done to what the optimiser leaves.
    optimised = _optimised(route, wishes.optimise, (*others, own))
    if isinstance(optimised, str):
        return optimised
    route = optimised
    for name, value in wishes.asked.items():
        if name == "optimise":
            continue
        able = [
            place
            for place, step in enumerate(route.steps)
            if name in offered[step.maker].get(step.converter, ())
        ]
        if able:
            chosen = set(able) if name in _EVERYWHERE else {able[-1]}
            steps = tuple(
                _told(step, {name: value}) if place in chosen else step
                for place, step in enumerate(route.steps)
            )
            route = replace(route, steps=steps)
            continue
        after = _afterwards(route, name, others)
        if after is None:
            return _refused(route, name, value)
        route = replace(route, steps=(*route.steps, _told(after, {name: value})))
    return _untold(route) or route


def _optimised(route: Route, optimise: str, makers: Sequence[Maker]) -> Route | str:
    """The route with the step of an optimiser behind the last one that leaves an ONNX file."""
    asked = read_optimise(optimise)
    if asked is None:
        return route
    formats = [route.source, *(step.target for step in route.steps)]
    if "onnx" not in formats:
        return (
            f"on the route {route.name} the model is never an ONNX file, which is what "
            f"{asked.tool} optimises (a longer route may: `harness model routes --all`)"
        )
    converter = OPTIMISERS[asked.tool]
    maker = next((one.name for one in makers if converter in one.converters), None)
    if maker is None:
        return f"no environment here offers {converter}"
    place = len(formats) - 1 - formats[::-1].index("onnx")
    step = Step(converter, maker, asked.options)
    return replace(route, steps=(*route.steps[:place], step, *route.steps[place:]))


def _untold(route: Route) -> str | None:
    """That a step is there for one thing alone which nobody asked for; None: all have a purpose."""
    for name in ("opset", "quantisation"):
        if any(s.converter == _AFTERWARDS[name] and name not in s.options for s in route.steps):
            return f"{_AFTERWARDS[name]} does nothing unless it is told which {name}"
    return None


def _refused(route: Route, name: str, value: object) -> str:
    what = f"{name} {str(value).lower()}"
    if not route.steps:
        return f"{route.name} is read as it is, and no conversion of it can be asked for {what}"
    return (
        f"none of the conversions of {route.name} can be asked for {what} (a longer route may: "
        "`harness model routes --all`)"
    )


def _told(step: Step, options: Mapping[str, Any]) -> Step:
    return replace(step, options={**step.options, **options})


def _afterwards(route: Route, name: str, others: Sequence[Maker]) -> Step | None:
    converter = _AFTERWARDS.get(name)
    if converter is None or route.format != "onnx":
        return None
    maker = next((one.name for one in others if converter in one.converters), None)
    return None if maker is None else Step(converter, maker)
