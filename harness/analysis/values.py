"""How far one output of two cells differs by value, image by image. Pure, in chunks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_CHUNK_VALUES = 2_000_000

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OutputDifference:
    """How one output differs by value, over all its elements.

    Attributes:
        name: the output's name; `scores` for class scores.
        comparable: False when shapes differ or kinds differ; then all measures are None.
        reason: why not comparable, or "".
        identical: equal bit for bit (NaN equal to NaN).
        max_abs_diff: largest absolute difference over images finite in both.
        mean_abs_diff: mean absolute difference over the same.
        max_rel_diff: largest |a-b| / max(|a|, |b|) over the same.
        cosine: mean over images of the cosine between the two flattened outputs.
        nonfinite_a: images with a NaN or infinity in a.
        nonfinite_b: likewise in b.
    """

    name: str
    comparable: bool
    reason: str = ""
    identical: bool = False
    max_abs_diff: float | None = None
    mean_abs_diff: float | None = None
    max_rel_diff: float | None = None
    cosine: float | None = None
    nonfinite_a: int = 0
    nonfinite_b: int = 0


@dataclass(frozen=True)
class Values:
    """One output's differences, image by image.

    Attributes:
        difference: the summary.
        max_abs: float64 [N], NaN where a value is not finite in either cell.
        mean_abs: likewise.
        cosine: likewise.
        finite_a: bool [N], whether all values of a are finite.
        finite_b: likewise of b.
    """

    difference: OutputDifference
    max_abs: Floats
    mean_abs: Floats
    cosine: Floats
    finite_a: npt.NDArray[np.bool_]
    finite_b: npt.NDArray[np.bool_]


def chunks(count: int, width: int) -> Iterable[slice]:
    """Slices over `count` rows of `width` values that each fit comfortably in memory."""
    step = max(1, _CHUNK_VALUES // max(1, width))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def incomparable(name: str, count: int, reason: str) -> Values:
    """Stands for an output that cannot be compared; every measure is None."""
    nothing = np.full(count, np.nan)
    every = np.ones(count, dtype=bool)
    return Values(
        OutputDifference(name, comparable=False, reason=reason),
        nothing,
        nothing,
        nothing,
        every,
        every,
    )


def value_difference(name: str, a: Array, b: Array, count: int, reason: str = "") -> Values:
    """Compare one output, [N, ...] in both cells.

    A reason given beforehand makes it incomparable; values that are not finite are still counted.
    """
    if a.shape != b.shape:
        reason = f"shape {list(a.shape)} against {list(b.shape)}"
    flat_a, flat_b = a.reshape(count, -1), b.reshape(count, -1)
    finite_a, finite_b = np.empty(count, dtype=bool), np.empty(count, dtype=bool)
    max_abs, mean_abs, max_rel, cosine = (np.full(count, np.nan) for _ in range(4))
    identical = True
    for part in chunks(count, max(flat_a.shape[1], flat_b.shape[1])):
        x, y = (np.asarray(flat[part], dtype=np.float64) for flat in (flat_a, flat_b))
        finite_a[part], finite_b[part] = np.isfinite(x).all(axis=1), np.isfinite(y).all(axis=1)
        if reason or x.shape[1] == 0:
            continue
        identical = identical and np.array_equal(x, y, equal_nan=True)
        both = finite_a[part] & finite_b[part]
        x, y = x[both], y[both]
        difference = np.abs(x - y)
        size = np.maximum(np.abs(x), np.abs(y))
        relative = np.divide(difference, size, out=np.zeros_like(size), where=size > 0)
        rows = np.flatnonzero(both) + part.start
        max_abs[rows], mean_abs[rows] = difference.max(axis=1), difference.mean(axis=1)
        max_rel[rows], cosine[rows] = relative.max(axis=1), _cosine(x, y)
    comparable = not reason
    described = OutputDifference(
        name=name,
        comparable=comparable,
        reason=reason,
        identical=comparable and identical,
        max_abs_diff=largest(max_abs),
        mean_abs_diff=mean(mean_abs),
        max_rel_diff=largest(max_rel),
        cosine=mean(cosine),
        nonfinite_a=int((~finite_a).sum()),
        nonfinite_b=int((~finite_b).sum()),
    )
    return Values(described, max_abs, mean_abs, cosine, finite_a, finite_b)


def same_values(a: Array, b: Array) -> bool:
    """Whether two outputs [N, ...] are equal bit for bit (NaN equal to NaN), in chunks."""
    if a.shape != b.shape:
        return False
    x, y = (flat.reshape(len(flat), -1) for flat in (a, b))
    exact = a.dtype.kind not in "fc"
    return all(np.array_equal(x[part], y[part], equal_nan=not exact) for part in chunks(*x.shape))


def _cosine(x: Floats, y: Floats) -> Floats:
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    equal = (x == y).all(axis=1)
    cosine = np.divide((x * y).sum(axis=1), norms, out=np.zeros(len(x)), where=norms > 0)
    return np.where(equal, 1.0, np.clip(cosine, -1.0, 1.0))


def mean(values: Floats) -> float | None:
    """Mean of the values that are known (not NaN); None where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def largest(values: Floats) -> float | None:
    """Largest of the values that are known (not NaN); None where none is."""
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else None
