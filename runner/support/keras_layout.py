"""Layouts as plain numbers: where an axis lies, what a reshape needs, which padding Keras has a name for.

A tensor's *layout* is a tuple `axes`: the axis j of the tensor holds the axis `axes[j]` that ONNX
means. NCHW kept channels-last is (0, 2, 3, 1). Nothing here knows Keras or ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np

from runner.support.onnx_window import Pads, Window

Axes = Tuple[int, ...]
Shape = Tuple[int, ...]

CHANNELS_LAST: Axes = (0, 2, 3, 1)


def plain(rank: int) -> Axes:
    """The layout in which nothing is moved."""
    return tuple(range(rank))


def inverse(axes: Axes) -> Axes:
    """The transposition that undoes one."""
    return tuple(axes.index(axis) for axis in range(len(axes)))


def relabelled(axes: Axes, perm: Sequence[int]) -> Axes:
    """The layout of an ONNX Transpose's result when the tensor itself stays as it is."""
    where = inverse(tuple(perm))
    return tuple(where[axis] for axis in axes)


def without(axes: Axes, gone: Sequence[int]) -> Axes:
    """The layout once some of ONNX's axes are taken out and the others renumbered."""
    kept = [axis for axis in range(len(axes)) if axis not in gone]
    return tuple(kept.index(axis) for axis in axes if axis in kept)


def positive_axes(axes: Sequence[int], rank: int) -> Axes:
    """Axes counted from the front, sorted.

    Raises:
        ValueError: if one is out of range.
    """
    if any(not -rank <= axis < rank for axis in axes):
        message = f"the axes {list(axes)} do not fit a tensor of rank {rank}"
        raise ValueError(message)
    return tuple(sorted(axis % rank for axis in axes))


def only_units_move(shape: Shape, before: Axes, after: Axes) -> bool:
    """Whether two layouts of an ONNX shape hold the same bytes: only axes of size 1 move."""
    return [a for a in before if shape[a] != 1] == [a for a in after if shape[a] != 1]


@dataclass(frozen=True)
class ReshapePlan:
    """A reshape of a tensor in some layout: the layout needed first, and that of the result."""

    before: Axes
    after: Axes


def plan_reshape(axes: Axes, before: Sequence[Shape], after: Sequence[Shape]) -> ReshapePlan:
    """How to reshape without going back to ONNX's order where that is not needed.

    Axes that a reshape neither splits nor merges stay wherever they lie; those merged must lie side
    by side in ONNX's order. `before` and `after` are the ONNX shapes for each batch considered: the
    grouping must hold for all, or everything is merged.
    """
    found = [_groups(old, new) for old, new in zip(before, after)]
    groups = found[0]
    if any(other != groups for other in found):
        groups = [(plain(len(before[0])), plain(len(after[0])))]
    where = inverse(axes)
    blocks: List[Tuple[Tuple[int, int], Axes, Axes]] = []
    place = (-1, 0)
    for old, new in groups:
        solid = [where[axis] for axis in old if before[0][axis] != 1] or [where[a] for a in old]
        # An axis that is new follows the block it was written behind.
        place = (max(solid), 0) if solid else (place[0], place[1] + 1)
        blocks.append((place, old, new))
    blocks.sort(key=lambda block: block[0])
    return ReshapePlan(
        tuple(axis for _, old, _ in blocks for axis in old),
        tuple(axis for _, _, new in blocks for axis in new),
    )


def _groups(before: Shape, after: Shape) -> List[Tuple[Axes, Axes]]:
    """The smallest runs of axes with the same number of elements on both sides."""
    groups = []
    i = j = 0
    while i < len(before) or j < len(after):
        first_i, first_j = i, j
        have = before[i] if i < len(before) else 1
        want = after[j] if j < len(after) else 1
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while have != want:
            if have < want:
                have, i = have * before[i], i + 1
            else:
                want, j = want * after[j], j + 1
        groups.append((tuple(range(first_i, i)), tuple(range(first_j, j))))
    return groups


def resolve_reshape(shape: Shape, wanted: Sequence[int], *, allow_zero: bool) -> Shape:
    """The shape that ONNX's Reshape makes of its request (0: as it was, -1: what is left).

    Raises:
        ValueError: if the number of elements can't be kept.
    """
    sizes = [shape[i] if w == 0 and not allow_zero else int(w) for i, w in enumerate(wanted)]
    total = int(np.prod(shape, dtype=np.int64))
    if -1 in sizes:
        rest = int(np.prod([size for size in sizes if size != -1], dtype=np.int64))
        sizes[sizes.index(-1)] = total // rest if rest else 0
    if int(np.prod(sizes, dtype=np.int64)) != total or -1 in sizes:
        message = f"a tensor of shape {list(shape)} can't be reshaped to {list(wanted)}"
        raise ValueError(message)
    return tuple(sizes)


def keras_padding(windows: Sequence[Window], pads: Sequence[Pads]) -> str:
    """`valid`, `same`, or `explicit` where neither of the two is this padding."""
    if not any(map(sum, pads)):
        return "valid"
    if all(tuple(pad) == window.same_pads() for window, pad in zip(windows, pads)):
        return "same"
    return "explicit"
