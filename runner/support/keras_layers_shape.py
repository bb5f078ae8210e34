"""Operators that move, cut and join without computing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner.support.keras_layout import (
    Shape,
    positive_axes,
    relabelled,
    resolve_reshape,
    without,
)
from runner.support.keras_step import Operator, Step, dropped
from runner.support.keras_values import Flow, Folded, Value, permuted


def _transpose(step: Step) -> List[Value]:
    flow = step.flow()
    perm = step.attributes.get("perm", list(range(flow.rank))[::-1])
    return [transposed(flow, perm)]


def transposed(flow: Flow, perm: Sequence[int]) -> Flow:
    """ONNX's Transpose moves nothing: the tensor stays and its axes get other numbers."""
    return replace(
        flow, axes=relabelled(flow.axes, tuple(perm)), shapes=permuted(flow.shapes, perm)
    )


def _reshape(step: Step) -> List[Value]:
    flow, wanted = step.flow(), step.value(1)
    if isinstance(wanted, Flow):
        raise step.refuse("its shape is computed from values of the input")
    allow_zero = bool(step.attributes.get("allowzero", 0))
    shapes = tuple(
        resolve_reshape(shape, world.reshape(-1).tolist(), allow_zero=allow_zero)
        for shape, world in zip(flow.shapes, wanted.worlds)
    )
    return [step.tensors.reshaped(flow, shapes)]


def _flatten(step: Step) -> List[Value]:
    flow = step.flow()
    axis = int(step.attributes.get("axis", 1))
    axis = axis + flow.rank if axis < 0 else axis
    shapes = tuple(
        (int(np.prod(s[:axis], dtype=np.int64)), int(np.prod(s[axis:], dtype=np.int64)))
        for s in flow.shapes
    )
    return [step.tensors.reshaped(flow, shapes)]


def _squeeze(step: Step) -> List[Value]:
    flow, asked = step.flow(), step.integers("axes", 1)
    axes = [a for a, size in enumerate(flow.shape) if size == 1] if asked is None else asked
    gone = positive_axes(axes, flow.rank)
    if any(flow.shape[axis] != 1 for axis in gone):
        raise step.refuse(f"the axes {list(gone)} of {list(flow.shape)} are not all of size 1")
    return [step.tensors.reshaped(flow, dropped(flow.shapes, gone))]


def _unsqueeze(step: Step) -> List[Value]:
    flow, asked = step.flow(), step.integers("axes", 1) or []
    new = positive_axes(asked, flow.rank + len(asked))
    shapes = []
    for shape in flow.shapes:
        sizes = iter(shape)
        total = flow.rank + len(new)
        shapes.append(tuple(1 if axis in new else next(sizes) for axis in range(total)))
    return [step.tensors.reshaped(flow, tuple(shapes))]


def _concat(step: Step) -> List[Value]:
    values = [step.value(index) for index in range(len(step.inputs))]
    flows = [value for value in values if isinstance(value, Flow)]
    largest = max(flows, key=lambda flow: flow.elements)
    axis = positive_axes([step.attributes["axis"]], largest.rank)[0]
    tensors = []
    for value in values:
        if isinstance(value, Flow):
            tensors.append(step.tensors.to_layout(value, largest.axes).tensor)
        else:
            tensors.append(_spread(step, value, largest, axis))
    place = largest.axes.index(axis)
    tensor = step.layer("Concatenate", axis=place)(tensors) if len(tensors) > 1 else tensors[0]
    shapes = []
    for world, shape in enumerate(largest.shapes):
        total = sum(value.shapes[world][axis] for value in values)
        shapes.append((*shape[:axis], total, *shape[axis + 1 :]))
    kept = all(isinstance(value, Flow) and value.nonnegative for value in values)
    return [Flow(tensor, largest.axes, tuple(shapes), kept)]


def _spread(step: Step, value: Folded, partner: Flow, axis: int) -> Any:
    """A constant as a tensor that has its partner's batch: zeros of the partner's, plus it."""
    array = value.array()
    step.check_float32(array.dtype, "a constant operand")
    batch = next((a for a, size in enumerate(partner.shape) if size is None), None)
    if batch is not None and (batch == axis or array.shape[batch] != 1):
        raise step.refuse("it joins a constant along the batch")
    at = tuple(slice(None) if a == batch else slice(0, 1) for a in partner.axes)
    zeros = step.op("zeros_like")(partner.tensor[at])
    laid = np.ascontiguousarray(array.transpose(partner.axes))
    return step.op("add")(zeros, laid)


def cut(flow: Flow, cuts: Dict[int, slice]) -> Flow:
    """A part of a tensor: slices with positive steps by ONNX's axes; none cuts the batch."""
    full = {axis: slice(0, size, 1) for axis, size in enumerate(flow.shape)}
    if all(part == full[axis] for axis, part in cuts.items()):
        return flow
    shapes = tuple(
        tuple(len(range(size)[cuts.get(axis, slice(None))]) for axis, size in enumerate(shape))
        for shape in flow.shapes
    )
    at = tuple(cuts.get(axis, slice(None)) for axis in flow.axes)
    return Flow(flow.tensor[at], flow.axes, shapes, flow.nonnegative)


def _slice(step: Step) -> List[Value]:
    flow = step.flow()
    starts, ends = step.integers("starts", 1) or [], step.integers("ends", 2) or []
    axes = step.integers("axes", 3)
    axes = list(range(len(starts))) if axes is None else [a % flow.rank for a in axes]
    steps = (step.integers("steps", 4) if step.has(4) else None) or [1] * len(starts)
    cuts = {}
    for axis, first, last, stride in zip(axes, starts, ends, steps):
        size = flow.shape[axis]
        if size is None:
            if first == 0 and stride == 1 and last >= max(shape[axis] for shape in flow.shapes):
                continue
            raise step.refuse("it cuts the batch")
        if stride < 1:
            raise step.refuse(f"its step {stride} goes backwards")
        cuts[axis] = slice(*slice(first, last, stride).indices(size))
    return [cut(flow, cuts)]


def _split(step: Step) -> List[Value]:
    flow = step.flow()
    axis = positive_axes([step.attributes.get("axis", 0)], flow.rank)[0]
    size = flow.shape[axis]
    if size is None:
        raise step.refuse("it splits the batch")
    sizes = step.integers("split", 1)
    if sizes is None:
        count = len(step.node.output)
        each = -(-size // count)
        sizes = [min(each, size - each * index) for index in range(count)]
    edges = np.cumsum([0, *sizes]).tolist()
    return [cut(flow, {axis: slice(a, b, 1)}) for a, b in zip(edges, edges[1:])]


def _gather(step: Step) -> List[Value]:
    flow, indices = step.flow(), step.constant(1)
    axis = positive_axes([step.attributes.get("axis", 0)], flow.rank)[0]
    size = flow.shape[axis]
    if size is None:
        raise step.refuse("it picks from the batch")
    if indices.ndim > 1:
        raise step.refuse(f"its indices have {indices.ndim} axes")
    picked = np.where(indices < 0, indices + size, indices)
    if picked.ndim == 0:
        part = cut(flow, {axis: slice(int(picked), int(picked) + 1, 1)})
        kept = tuple(a for a in part.axes if a != axis)
        shapes = dropped(part.shapes, [axis])
        layout = without(part.axes, [axis])
        assert len(kept) == len(layout)  # noqa: S101
        tensor = step.tensors.reshape(part.tensor, permuted(shapes, layout))
        return [Flow(tensor, layout, shapes, flow.nonnegative)]
    return [taken(step, flow, picked, axis)]


def taken(step: Step, flow: Flow, indices: np.ndarray, axis: int) -> Flow:
    """The elements of an axis by their indices."""
    place = flow.axes.index(axis)
    tensor = step.op("take")(flow.tensor, indices.astype(np.int32), axis=place)
    shapes = tuple((*s[:axis], len(indices), *s[axis + 1 :]) for s in flow.shapes)
    return Flow(tensor, flow.axes, shapes, flow.nonnegative)


def _pad(step: Step) -> List[Value]:
    flow = step.flow()
    mode = step.attributes.get("mode", "constant")
    if mode not in ("constant", "reflect"):
        raise step.refuse(f"its mode is {mode!r}; constant and reflect are supported")
    value = float(step.attributes.get("value", 0.0))
    if step.has(2):
        value = float(step.constant(2).reshape(-1)[0])
    widths = _pad_widths(step, flow)
    if any(sum(width) and flow.shape[axis] is None for axis, width in enumerate(widths)):
        raise step.refuse("it pads the batch")
    crops = {
        axis: slice(max(-first, 0), int(flow.shapes[0][axis]) - max(-last, 0), 1)
        for axis, (first, last) in enumerate(widths)
        if min(first, last) < 0
    }
    flow = cut(flow, crops)
    widths = [(max(first, 0), max(last, 0)) for first, last in widths]
    if not any(map(sum, widths)):
        return [flow]
    shapes = tuple(
        tuple(size + sum(width) for size, width in zip(shape, widths)) for shape in flow.shapes
    )
    laid = [widths[axis] for axis in flow.axes]
    kept = flow.nonnegative and (mode == "reflect" or value >= 0)
    if mode == "constant" and value == 0 and flow.rank == 4 and laid[0] == laid[3] == (0, 0):
        layer = step.layer("ZeroPadding2D", tuple(laid[1:3]), data_format="channels_last")
        return [Flow(layer(flow.tensor), flow.axes, shapes, kept)]
    settings: Dict[str, Any] = {"mode": mode}
    if mode == "constant":
        settings["constant_values"] = value
    tensor = step.op("pad")(flow.tensor, tuple(laid), **settings)
    return [Flow(tensor, flow.axes, shapes, kept)]


def _pad_widths(step: Step, flow: Flow) -> List[Tuple[int, int]]:
    pads = step.integers("pads", 1) or []
    axes: Optional[List[int]] = step.integers("axes", 3)
    named = list(range(flow.rank)) if axes is None else [axis % flow.rank for axis in axes]
    widths = [(0, 0)] * flow.rank
    for index, axis in enumerate(named):
        widths[axis] = (pads[index], pads[index + len(named)])
    return widths


def _depth_to_space(step: Step) -> List[Value]:
    flow, size = step.flow(rank=4), int(step.attributes["blocksize"])
    column = step.attributes.get("mode", "DCR") == "CRD"

    def split(shape: Shape) -> Shape:
        n, c, h, w = shape
        deep = c // size**2
        return (n, deep, size, size, h, w) if column else (n, size, size, deep, h, w)

    perm = (0, 1, 4, 2, 5, 3) if column else (0, 3, 4, 1, 5, 2)
    parts = step.tensors.reshaped(flow, tuple(map(split, flow.shapes)))
    shapes = tuple((n, c // size**2, h * size, w * size) for n, c, h, w in flow.shapes)
    return [step.tensors.reshaped(transposed(parts, perm), shapes)]


def _space_to_depth(step: Step) -> List[Value]:
    flow, size = step.flow(rank=4), int(step.attributes["blocksize"])
    split = tuple((n, c, h // size, size, w // size, size) for n, c, h, w in flow.shapes)
    shapes = tuple((n, c * size**2, h // size, w // size) for n, c, h, w in flow.shapes)
    parts = transposed(step.tensors.reshaped(flow, split), (0, 3, 5, 1, 2, 4))
    return [step.tensors.reshaped(parts, shapes)]


OPERATORS: Dict[str, Operator] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""The functions by the operators that they convert."""
