"""The route of a cell, as its document holds it: formats, tools, and where each step is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

AXES = ("opset", "quantisation", "folding", "layout")
"""What is asked of conversions: axes of their own beside the route."""

AXIS_STEPS = {"onnx:opset": "opset", "onnx:quantise": "quantisation", "onnx:fold": "folding"}
"""Steps that a plan adds at the end of a route, and the axis that each is there for."""

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
    differ in `quantisation` alone.
    """
    if not cell.get("route"):
        return None
    nodes = every = str(cell["route"]).split(">")
    while len(nodes) > 1 and cell.get(AXIS_STEPS.get(nodes[-1], "")) not in _USUAL:
        nodes = nodes[:-1]
    steps = cell.get("steps")
    makers = None
    if isinstance(steps, list) and len(steps) == len(every) - 1:
        makers = tuple(str(step.get("environment")) for step in steps[: len(nodes) - 1])
    return CellRoute(tuple(nodes), makers, len(nodes) == len(every))


def asked_of(cell: Document) -> Document:
    """What was asked of a cell's conversions, by axis; what was left to them is left out."""
    return {axis: cell[axis] for axis in AXES if cell.get(axis) not in _USUAL}
