"""What importers of a compiler have in common: what is fed to try them, by a tensor's description."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import TensorSpec
from runner.errors import RunnerError

_SEED = 0


def fed_shape(
    name: str, declared: TensorSpec, batch: int, item_shape: Optional[Sequence[int]]
) -> Tuple[int, ...]:
    """The whole shape that is fed, where the source says one and a job another.

    Raises:
        RunnerError: kind `unsupported`, if they contradict each other, or more than the batch is
            left open and nobody says what it is.
    """
    if declared.shape is None:
        if item_shape is None:
            raise _open(name, declared)
        return (batch, *item_shape)
    wanted = [batch, *(declared.shape[1:] if item_shape is None else item_shape)]
    if any(size is None for size in wanted):
        raise _open(name, declared)
    misfit = len(wanted) != len(declared.shape) or any(
        size not in (None, want) for size, want in zip(declared.shape, wanted)
    )
    if misfit:
        raise RunnerError(
            "unsupported",
            f"{name}: the input {declared.name!r} is declared as {list(declared.shape)} and "
            f"{wanted} was asked for: use the model's own batch and shape, or export it with a "
            "dynamic batch",
        )
    return tuple(int(size) for size in wanted if size is not None)


def seeded(shape: Sequence[int], dtype: str) -> np.ndarray:
    """An input to try a model with: standard normal, or small integers."""
    generator = np.random.Generator(np.random.PCG64(_SEED))
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(tuple(shape)).astype(dtype)
    return generator.integers(0, 100, size=tuple(shape)).astype(dtype)


def _open(name: str, declared: TensorSpec) -> RunnerError:
    return RunnerError(
        "unsupported",
        f"{name}: the input {declared.name!r} leaves more than the batch open; give the option "
        "item_shape",
    )
