"""Which part of a model shows the difference between two cells: the search, whatever runs the parts.

The model is cut at tensors through which everything passes, and the shortest run of such places is
found that still shows it; inside of that, single operators are tried, and what is left is cut down
between its inner tensors. Every part is fed what the whole model computes at that place, so what a
part shows it shows by itself, and not because of what came before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.studies.minimise import Run, shortest_run
from harness.studies.onnx_graph import OnnxGraph, Part

Array = npt.NDArray[Any]

SHARE = 0.1
"""A part shows the difference from this share of the whole model's on."""

ROUNDING = 1e-5
"""Relative differences below this are rounding: float32 keeps 24 bits, and a convolution's sums
have thousands of terms, which every kernel adds in an order of its own."""

ROUNDING_NOTE = (
    "so small a difference is what float32 rounds where another kernel adds in another order; by "
    "itself it is no fault of an operator"
)

_SINGLES = 16
"""In a part of more operators than this, each alone is not tried: errors that add up have no one."""

_HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")


@dataclass(frozen=True)
class Tested:
    """A part that was tried.

    Attributes:
        part: which.
        label: its operators.
        difference: relative, see `difference`; None where it could not be run.
        shows: whether that is the fault.
        note: why it could not be run; empty where it could.
        keys: of the two cells; empty where there is none.
    """

    part: Part
    label: str
    difference: float | None
    shows: bool
    note: str = ""
    keys: tuple[str, str] = ("", "")


def difference(a: Array, b: Array) -> float:
    """The largest difference between two outputs, as a share of the largest number in a.

    Infinite where they are not finite at the same places, or have different shapes.
    """
    if a.shape != b.shape:
        return float("inf")
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x)
    if not np.array_equal(finite, np.isfinite(y)):
        return float("inf")
    others = ~finite
    if not np.array_equal(x[others], y[others], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    apart = float(np.abs(x[finite] - y[finite]).max())
    size = float(np.abs(x[finite]).max())
    return apart / size if size else (float("inf") if apart else 0.0)


def is_rounding(apart: float | None, precisions: Iterable[str]) -> bool:
    """Whether a relative difference is no more than sums in another order make in float32.

    Args:
        apart: see `difference`; None where there is none.
        precisions: what both sides compute in.
    """
    return apart is not None and apart < ROUNDING and set(precisions) == {"f32"}


def bound_of(whole: float, share: float) -> float:
    """From which difference on a part shows the fault: a share of the whole model's, or of 1.

    Layers blow up what one of them does: a difference beyond the largest number itself says nothing
    of how large it is where it arises, and no part would reach a share of it.
    """
    return share * min(whole, 1.0)


def smallest_part(graph: OnnxGraph, test: Callable[[Part], bool]) -> Part:
    """The smallest part that shows the fault, of those that were looked at.

    Args:
        graph: the model; all of it shows the fault.
        test: whether a part shows it; asked once for each.
    """
    known: dict[Part, bool] = {}

    def shows(part: Part | None) -> bool:
        if part is None:
            return False
        if part not in known:
            known[part] = test(part)
        return known[part]

    cuts = graph.cuts
    whole = _part(graph, cuts[0], cuts[-1])
    known[whole] = True
    run = shortest_run(
        len(cuts) - 1, lambda run: shows(graph.part(cuts[run.first], cuts[run.last + 1]))
    )
    part = _part(graph, cuts[run.first], cuts[run.last + 1])
    if len(part.nodes) <= _SINGLES:
        for single in _singles(graph, part):
            if shows(single):
                return single
    return _shrunk(graph, part, _inner(graph, run), shows)


def _part(graph: OnnxGraph, start: str, end: str) -> Part:
    found = graph.part(start, end)
    assert found is not None  # noqa: S101 - both are cuts of the graph, in order
    return found


def _singles(graph: OnnxGraph, part: Part) -> Iterator[Part]:
    """Each operator of a part alone, those that compute most first."""
    if len(part.nodes) == 1:
        return
    heavy = sorted(part.nodes, key=lambda index: graph.nodes[index].op_type not in _HEAVY)
    inner = {part.start, *(name for i in part.nodes for name in graph.nodes[i].output)}
    for index in heavy:
        start = next((name for name in graph.reads[index] if name in inner), None)
        end = next((name for name in graph.nodes[index].output if name), None)
        if start and end and (found := graph.part(start, end)) and found.nodes == (index,):
            yield found


def _inner(graph: OnnxGraph, run: Run) -> tuple[list[str], list[str]]:
    """Tensors inside the first and the last place of a run: where it may begin and end instead."""
    cuts = graph.cuts

    def within(place: int) -> list[str]:
        nodes = _part(graph, cuts[place], cuts[place + 1]).nodes
        return [name for index in nodes for name in graph.nodes[index].output if name]

    return within(run.first), within(run.last)


def _shrunk(
    graph: OnnxGraph,
    part: Part,
    inner: tuple[list[str], list[str]],
    shows: Callable[[Part | None], bool],
) -> Part:
    """A part with its ends moved to inner tensors, as long as fewer operators still show it."""
    starts, ends = inner
    moved = True
    while moved:
        moved = False
        offered = [graph.part(start, part.end) for start in reversed(starts) if start != part.end]
        offered += [graph.part(part.start, end) for end in ends if end != part.start]
        fewer = [one for one in offered if one and 0 < len(one.nodes) < len(part.nodes)]
        for one in sorted(fewer, key=lambda one: len(one.nodes)):
            if set(one.nodes) < set(part.nodes) and shows(one):
                part, moved = one, True
                break
    return part
