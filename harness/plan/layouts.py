"""What happens to inputs and outputs along a chain of conversions that change the layout."""

from __future__ import annotations

from collections.abc import Sequence

Axes = Sequence[int] | None
"""A transposition as `numpy.transpose` takes it; None: none."""


def after(first: Axes, then: Axes) -> list[int] | None:
    """The one transposition that does both, one after the other."""
    if first is None or then is None:
        one = first if then is None else then
        return None if one is None else list(one)
    both = [first[axis] for axis in then]
    return None if both == sorted(both) else both


def outputs_after(
    before: Sequence[Axes] | None, own: Sequence[Axes] | None
) -> list[list[int] | None] | None:
    """How each output of a step becomes that of the model that the chain began with.

    Args:
        before: how the outputs of its source do; None: as they are.
        own: how its outputs become those of its source.
    """
    if before is None or own is None:
        one = before if own is None else own
        return None if one is None else [None if axes is None else list(axes) for axes in one]
    return [after(first, then) for first, then in zip(own, before, strict=True)]
