"""What flows along the edges of an ONNX graph on its way to Keras, and how it is laid out anew.

An edge carries a `Folded` constant or a `Flow`, a Keras tensor in some layout. The batch may be
open, so sizes are followed for two batches at once: what is the same for both is a fixed size, and
what differs is counted in batches. With a fixed batch both are that batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy as np

from runner.support.keras_engine import Keras
from runner.support.keras_layout import (
    CHANNELS_LAST,
    Axes,
    Shape,
    inverse,
    only_units_move,
    plain,
    plan_reshape,
)


@dataclass(frozen=True)
class Folded:
    """A constant, as ONNX lays it out: one value for each batch that is followed."""

    worlds: Tuple[np.ndarray, ...]

    @property
    def fixed(self) -> bool:
        """Whether it is the same for every batch."""
        first = self.worlds[0]
        return all(
            world is first or (world.shape == first.shape and np.array_equal(world, first))
            for world in self.worlds
        )

    @property
    def shapes(self) -> Tuple[Shape, ...]:
        """Its shape for each batch."""
        return tuple(world.shape for world in self.worlds)

    def array(self) -> np.ndarray:
        """Its value; an axis as long as the batch, along which nothing changes, has size 1.

        Raises:
            ValueError: if it depends on the batch in another way.
        """
        if self.fixed:
            return self.worlds[0]
        first = self.worlds[0]
        if len({world.ndim for world in self.worlds}) == 1:
            for axis in range(first.ndim):
                slices = [world.take([0], axis) for world in self.worlds]
                constant = all(
                    (world == one).all() for world, one in zip(self.worlds, slices)
                ) and all(np.array_equal(slices[0], other) for other in slices)
                if constant:
                    return slices[0]
        message = "a constant depends on the batch"
        raise ValueError(message)


@dataclass(frozen=True)
class Flow:
    """A Keras tensor; `shapes` are ONNX's, for each batch that is followed.

    `nonnegative` is set where nothing below zero can come, so that padding with zeros pads a
    maximum.
    """

    tensor: Any
    axes: Axes
    shapes: Tuple[Shape, ...]
    nonnegative: bool = False

    @property
    def rank(self) -> int:
        """Its number of axes."""
        return len(self.axes)

    @property
    def shape(self) -> Tuple[Optional[int], ...]:
        """ONNX's shape, None where it depends on the batch."""
        return fixed_sizes(self.shapes)

    @property
    def elements(self) -> int:
        """How many elements it has for the first batch followed."""
        return int(np.prod(self.shapes[0], dtype=np.int64))


Value = Union[Folded, Flow]


def fixed_sizes(shapes: Sequence[Shape]) -> Tuple[Optional[int], ...]:
    """The sizes of a shape, None where they differ from batch to batch."""
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes))


def permuted(shapes: Sequence[Shape], axes: Sequence[int]) -> Tuple[Shape, ...]:
    """Shapes with their axes in another order."""
    return tuple(tuple(shape[axis] for axis in axes) for shape in shapes)


class Tensors:
    """Moves Keras tensors from layout to layout; by reshaping alone where no byte moves."""

    def __init__(self, keras: Keras) -> None:
        self.keras = keras

    def reshape(self, tensor: Any, shapes: Sequence[Shape]) -> Any:
        """A tensor by the shapes it is to have, in its own order of axes.

        Raises:
            ValueError: if more than one size would depend on the batch.
        """
        sizes = fixed_sizes(shapes)
        if sizes.count(None) > 1:
            message = f"more than one size of {list(sizes)} depends on the batch"
            raise ValueError(message)
        if tuple(tensor.shape) == sizes:
            return tensor
        if len(sizes) > 1 and _same_rows(tuple(tensor.shape), sizes):
            return self.keras.layers.Reshape(sizes[1:])(tensor)
        return self.keras.ops.reshape(tensor, tuple(-1 if s is None else s for s in sizes))

    def to_layout(self, flow: Flow, axes: Axes) -> Flow:
        """The same values in another layout."""
        if flow.axes == axes:
            return flow
        shapes = permuted(flow.shapes, axes)
        if all(only_units_move(shape, flow.axes, axes) for shape in flow.shapes):
            tensor = self.reshape(flow.tensor, shapes)
        else:
            order = tuple(flow.axes.index(axis) for axis in axes)
            if order[0] == 0:
                tensor = self.keras.layers.Permute(order[1:])(flow.tensor)
            else:
                tensor = self.keras.ops.transpose(flow.tensor, order)
        return replace(flow, tensor=tensor, axes=axes)

    def channels_last(self, flow: Flow) -> Flow:
        """An image with its channels last."""
        return self.to_layout(flow, CHANNELS_LAST)

    def reshaped(self, flow: Flow, shapes: Tuple[Shape, ...]) -> Flow:
        """ONNX's reshape, in the layout that costs least.

        Raises:
            ValueError: as `reshape`.
        """
        if any(0 in shape for shape in flow.shapes + shapes):
            message = "a tensor without elements"
            raise ValueError(message)
        plan = plan_reshape(flow.axes, flow.shapes, shapes)
        if all(only_units_move(shape, flow.axes, plan.before) for shape in flow.shapes):
            ordered = flow
        else:
            ordered = self.to_layout(flow, plan.before)
        tensor = self.reshape(ordered.tensor, permuted(shapes, plan.after))
        return Flow(tensor, plan.after, shapes, flow.nonnegative)

    def ranked(self, flow: Flow, rank: int, axes: Axes) -> Flow:
        """With axes of size 1 in front, as broadcasting adds them, in the layout of its partner."""
        extra = rank - flow.rank
        if extra == 0:
            return self.to_layout(flow, axes)
        present = tuple(axis - extra for axis in axes if axis >= extra)
        ordered = self.to_layout(flow, present)
        shapes = tuple((1,) * extra + shape for shape in flow.shapes)
        tensor = self.reshape(ordered.tensor, permuted(shapes, axes))
        return Flow(tensor, axes, shapes, flow.nonnegative)

    def partners(self, values: Sequence[Value]) -> Tuple[List[Any], Flow]:
        """Operands of an elementwise operation, made to fit: tensors and arrays, and the largest.

        A constant of one element becomes a Python number: engines keep its operand's dtype. The
        second result is the operand whose layout and rank the result has.
        """
        rank = max(len(value.shapes[0]) for value in values)
        flows = [value for value in values if isinstance(value, Flow)]
        largest = max(flows, key=lambda flow: (flow.rank, flow.elements))
        if largest.rank < rank:
            largest = self.ranked(largest, rank, plain(rank))
        operands: List[Any] = []
        for value in values:
            if isinstance(value, Flow):
                operands.append(self.ranked(value, rank, largest.axes).tensor)
            else:
                operands.append(operand(value.array(), rank, largest.axes))
        return operands, largest


def _same_rows(before: Sequence[Optional[int]], after: Sequence[Optional[int]]) -> bool:
    """Whether two shapes have the same first size, also if it is open: the rest is as large."""
    old, new = before[1:], after[1:]
    if before[0] != after[0] or None in old or None in new:
        return False
    return bool(np.prod([s or 0 for s in old]) == np.prod([s or 0 for s in new]))


def operand(array: np.ndarray, rank: int, axes: Axes) -> Any:
    """A constant in the layout of its partner; a number if it is one element."""
    if array.size == 1:
        return float(array.reshape(())) if array.dtype.kind == "f" else array.item()
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return np.ascontiguousarray(full.transpose(axes))


def broadcast(values: Sequence[Value]) -> Tuple[Shape, ...]:
    """The shapes that an elementwise operation on values gives.

    Raises:
        ValueError: if they do not fit each other.
    """
    return tuple(
        tuple(np.broadcast_shapes(*shapes)) for shapes in zip(*(value.shapes for value in values))
    )


def output_axes(flow: Flow) -> Optional[Axes]:
    """How the Keras output is transposed to become ONNX's; None: not at all."""
    return None if flow.axes == plain(flow.rank) else inverse(flow.axes)
