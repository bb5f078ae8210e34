"""The route of a cell, as its document holds it: formats, tools, and where each step is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

AXES = ("opset", "quantisation", "folding", "layout", "optimise")
"""What is asked of conversions: axes of their own beside the route."""

AXIS_STEPS = {
    "onnx:opset": "opset",
    "onnx:quantise": "quantisation",
    "onnx:fold": "folding",
    "onnx:onnxoptimizer": "optimise",
    "onnx:onnxsim": "optimise",
}
"""Steps that a plan adds to a route, and the axis that each is there for."""

_ANYWHERE = frozenset({"optimise"})
"""Axes whose step stands where the model last is an ONNX file; those of others end a route."""

_USUAL = (None, "own", "none")


@dataclass(frozen=True, slots=True)
class CellRoute:
    """A route without the steps that are there for an axis.

    Attributes:
        nodes: `("keras", "onnx:tf2onnx")`: formats in order, each with its tool.
        makers: names of the environments that made all but the first; None: not known.
        whole: whether the cell's own route has no further steps.
    """

    nodes: tuple[str, ...]
    makers: tuple[str, ...] | None
    whole: bool

    @property
    def text(self) -> str:
        """`keras>onnx:tf2onnx`."""
        return ">".join(self.nodes)


def route_of(cell: Document) -> CellRoute | None:
    """The route of a cell; None where it is not known.

    A cell whose ONNX file was quantised at the end took the same route as one that was not: they
    differ in `quantisation` alone. So did one whose ONNX file was optimised on the way.
    """
    if not cell.get("route"):
        return None
    every = str(cell["route"]).split(">")
    added = {axis for axis in AXIS_STEPS.values() if cell.get(axis) not in _USUAL}
    end = len(every)
    while end > 1 and AXIS_STEPS.get(every[end - 1]) in added:
        end -= 1
    places = [
        place
        for place in range(end)
        if place == 0 or AXIS_STEPS.get(every[place]) not in added & _ANYWHERE
    ]
    steps = cell.get("steps")
    makers = None
    if isinstance(steps, list) and len(steps) == len(every) - 1:
        makers = tuple(str(steps[place - 1].get("environment")) for place in places[1:])
    return CellRoute(tuple(every[place] for place in places), makers, len(places) == len(every))


def asked_of(cell: Document) -> Document:
    """What was asked of a cell's conversions, by axis; what was left to them is left out."""
    return {axis: cell[axis] for axis in AXES if cell.get(axis) not in _USUAL}
