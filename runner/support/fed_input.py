"""What a converter tries a model with: the shape that is declared and asked for, and values of it."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import Shape
from runner.errors import RunnerError

_SEED = 0


def fed_shape(
    name: str,
    called: str,
    declared: Optional[Sequence[Optional[int]]],
    batch: int,
    item_shape: Optional[Sequence[int]],
) -> Tuple[int, ...]:
    """The whole shape that is fed, where the source declares one and a job asks for another.

    Args:
        name: the converter's, for messages.
        called: the input, for messages.
        declared: by the source, None for what it leaves open; None: it does not say.
        batch: that is asked for.
        item_shape: of one input, where it is known.

    Raises:
        RunnerError: kind `unsupported`, if they contradict each other, or more than the batch is
            left open and nobody says what it is.
    """
    if declared is None:
        if item_shape is None:
            raise RunnerError(
                "unsupported",
                f"{name}: the model does not say what shape the input {called!r} takes; give the "
                "option item_shape",
            )
        return (batch, *item_shape)
    wanted = [batch, *(declared[1:] if item_shape is None else item_shape)]
    sizes = tuple(size for size in wanted if size is not None)
    if len(sizes) != len(wanted):
        raise RunnerError(
            "unsupported",
            f"{name}: the input {called!r} takes {list(declared)}, which leaves more than the batch "
            "open; give the option item_shape",
        )
    misfit = len(sizes) != len(declared) or any(
        size not in (None, want) for size, want in zip(declared, sizes)
    )
    if misfit:
        raise RunnerError(
            "unsupported",
            f"{name}: the input {called!r} takes {list(declared)} and {list(sizes)} was asked for: "
            "use the model's own batch and shape, or make it with an open batch",
        )
    return sizes


def with_open_batch(shape: Sequence[int], declared: Optional[Sequence[Optional[int]]]) -> Shape:
    """What is fed, with its batch left open where the source does not fix that."""
    return (shape[0] if declared and declared[0] is not None else None, *shape[1:])


def seeded(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Values to try a model with: standard normal, or small integers."""
    generator = np.random.Generator(np.random.PCG64(_SEED))
    if np.dtype(dtype).kind in "iub":
        return generator.integers(0, 100, size=tuple(shape)).astype(dtype)
    return generator.standard_normal(tuple(shape)).astype(dtype)
