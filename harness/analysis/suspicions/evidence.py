"""What suspicions are judged from: a cell's scores, and what is read from them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.suspicions import profiles
from harness.analysis.suspicions.profiles import CLASSES, Fit, standardised
from harness.analysis.values import chunks
from harness.datasets.classes import imagenet

TOP = 5
_SAMPLED = 4096
_DISTINCT_ROWS = 64
_LIKENESS_ROWS = 256
_ALIKE = 0.18

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Class = tuple[int, str | None, str]


@dataclass(frozen=True)
class Summary:
    """What one pass over the scores finds; columns are the model's own (offset not removed).

    Attributes:
        finite: bool [N], rows whose values are all finite.
        nans: values that are NaN.
        infinities: values that are infinite.
        best: int64 [N, min(5, C)], best columns first; -1 in rows that are not finite.
        repeats: bool [N], rows equal bit for bit to the row before.
        equal_rows: whether all rows are equal up to one part in a million of their range.
        flat: bool [N], rows whose scores are all equal.
        deviation: float64 [N], standard deviation of a row.
        confidence: float64 [N], largest probability of a row (NaN in rows that are not finite).
        tied: bool [N], rows whose largest score is shared, and is the largest of the whole cell.
        levels: distinct values in up to 64 rows spread over the cell.
        sums: whether every finite row is not negative and sums to one (within 2 %).
        spread: float64 [N], sum over classes of log p minus the smallest log p; NaN unless `sums`.
        profile: float64 [C], mean over images of the standardised scores of a row.
        shared: 0 to 1, how much of the standardised scores is the same in every row.
    """

    finite: Bools
    nans: int
    infinities: int
    best: Ints
    repeats: Bools
    equal_rows: bool
    flat: Bools
    deviation: Floats
    confidence: Floats
    tied: Bools
    levels: int
    sums: bool
    spread: Floats
    profile: Floats
    shared: float

    @property
    def label(self) -> Ints:
        """int64 [N], the best column; -1 in rows that are not finite."""
        return self.best[:, 0]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One cell's answers, as far as suspicions need them.

    Attributes:
        scores: float [N, C] as the model gave them; may be memory-mapped.
        kind: `logits`, `probabilities`, or `values` for outputs that are no class scores.
        labels: int64 [N] in the class list's space, -1 where unknown; None without labels.
        class_offset: columns before the first class (1 for a background class).
        classes: (index, WordNet id, name) of each class, or None where nothing is known.
        names: the N images' names, or empty.
        weights: equal for cells that run the same weights; empty where that is not known.
    """

    scores: npt.NDArray[Any] = field(repr=False)
    kind: str = "logits"
    labels: Ints | None = field(default=None, repr=False)
    class_offset: int = 0
    classes: Sequence[Class] | None = field(default=None, repr=False)
    names: Sequence[str] = field(default=(), repr=False)
    weights: str = ""

    @property
    def count(self) -> int:
        """N, the number of images."""
        return int(self.scores.shape[0])

    @property
    def width(self) -> int:
        """C, the number of columns."""
        return int(self.scores.shape[1])

    @cached_property
    def summary(self) -> Summary:
        """One pass over the scores, made once however many cells are compared with this one."""
        return _summarise(self)

    @cached_property
    def known(self) -> Bools:
        """Bool [N], images with a label and finite scores."""
        if self.labels is None:
            return np.zeros(self.count, dtype=bool)
        return np.asarray((np.asarray(self.labels) >= 0) & self.summary.finite)

    @cached_property
    def imagenet_order(self) -> Ints | None:
        """For each ImageNet class its place among this model's classes; None where it has others.

        A model of 1000 or 1001 columns whose class list is not known is taken for one of ImageNet.
        """
        if self.kind == "values" or self.width not in {CLASSES, CLASSES + 1}:
            return None
        if not self.classes:
            return np.arange(CLASSES)
        places = {wnid: index for index, wnid, _ in self.classes if wnid}
        found = [places.get(c.wnid or "", -1) for c in imagenet()]
        return np.array(found) if sorted(found) == list(range(CLASSES)) else None

    def profile(self, shift: int = 0) -> Floats | None:
        """Mean standardised scores of the ImageNet classes, [1000], the offset moved by `shift`."""
        order = self.imagenet_order
        if order is None:
            return None
        columns = order + self.class_offset + shift
        inside = (columns >= 0) & (columns < self.width)
        return np.where(inside, self.summary.profile[np.clip(columns, 0, self.width - 1)], 0.0)

    @cached_property
    def likeness(self) -> dict[int, float]:
        """How much of the scores' variance lies where ImageNet models have it, by shift; or {}.

        Similar classes rise and fall together in every such model: 0.3 to 0.75 of the variance
        lies in 50 directions known from others, 0.05 where classes are in another order, and half
        as much as usual where they are off by one.
        """
        order = self.imagenet_order
        rows = np.flatnonzero(self.summary.finite & ~self.summary.flat)
        if order is None or not len(rows):
            return {}
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _LIKENESS_ROWS).astype(int))]
        x = np.asarray(self.scores[rows], dtype=np.float64)
        z = standardised(np.log(np.maximum(x, 1e-12)) if self.summary.sums else x)
        directions = profiles.shipped().directions
        found = {}
        for shift in (0, -1, 1):
            columns = order + self.class_offset + shift
            inside = (columns >= 0) & (columns < self.width)
            seen = np.where(inside, z[:, np.clip(columns, 0, self.width - 1)], 0.0)
            found[shift] = float(((seen @ directions.T) ** 2).sum() / (seen**2).sum())
        return found

    @property
    def known_order(self) -> bool:
        """Whether the classes are ImageNet's, in their order: the scores say so."""
        return bool(self.likeness) and max(self.likeness.values()) >= _ALIKE

    @cached_property
    def fits(self) -> dict[int, Fit]:
        """How the ImageNet profiles explain this cell, by shift of the offset; {} if they can't."""
        known = profiles.shipped()
        count = int(self.summary.finite.sum())
        moved = {shift: self.profile(shift) for shift in (0, -1, 1)}
        return {k: known.fit(p - known.mean, count) for k, p in moved.items() if p is not None}

    def label_of(self, image: int) -> str:
        """How an image is called in a sentence."""
        return self.names[image] if image < len(self.names) else f"image {image}"


def _summarise(cell: Evidence) -> Summary:
    n, c = cell.count, cell.width
    top = min(TOP, c)
    finite, repeats, flat = (np.zeros(n, dtype=bool) for _ in range(3))
    deviation, highest, lowest, sums, spread = (np.full(n, np.nan) for _ in range(5))
    shared_top, confidence = np.zeros(n, dtype=bool), np.full(n, np.nan)
    best = np.full((n, top), -1, dtype=np.int64)
    nans = infinities = 0
    low, high = np.full(c, np.inf), np.full(c, -np.inf)
    before: npt.NDArray[Any] | None = None
    for part in chunks(n, c):
        given = np.asarray(cell.scores[part])
        rows = np.arange(part.start, part.start + len(given))
        previous = given[:-1] if before is None else np.concatenate([before, given[:-1]])
        same = (given[len(given) - len(previous) :] == previous).all(axis=1)
        repeats[rows[len(given) - len(previous) :]] = same
        before = given[-1:]
        nans += int(np.isnan(given).sum())
        infinities += int(np.isinf(given).sum())
        good = np.isfinite(given).all(axis=1)
        finite[rows] = good
        x, rows = given[good].astype(np.float64), rows[good]
        if not len(x):
            continue
        low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
        highest[rows], lowest[rows] = x.max(axis=1), x.min(axis=1)
        flat[rows] = highest[rows] == lowest[rows]
        deviation[rows], sums[rows] = x.std(axis=1), x.sum(axis=1)
        shared_top[rows] = (x == highest[rows, None]).sum(axis=1) > 1
        best[rows] = _best(x, top)
        confidence[rows] = 1 / np.exp(x - highest[rows, None]).sum(axis=1)
        positive = lowest[rows] > 0
        logs = np.log(x[positive])
        spread[rows[positive]] = (logs - logs.min(axis=1, keepdims=True)).sum(axis=1)
    some = bool(finite.any())
    probabilities = some and bool(
        np.nanmin(lowest) >= 0 and np.nanmax(np.abs(sums - 1)) <= 0.02 and c > 1
    )
    scale = max(float(np.nanmax(np.abs(highest))), float(np.nanmax(np.abs(lowest)))) if some else 0
    profile, shared = _profile(cell, np.flatnonzero(finite & ~flat), probabilities=probabilities)
    return Summary(
        finite=finite,
        nans=nans,
        infinities=infinities,
        best=best,
        repeats=repeats,
        equal_rows=some and n > 1 and bool((high - low).max() <= 1e-6 * scale),
        flat=flat,
        deviation=deviation,
        confidence=highest if probabilities else confidence,
        tied=shared_top & ((highest == np.nanmax(highest)) if some else False) & ~flat,
        levels=_levels(cell, finite),
        sums=probabilities,
        spread=spread if probabilities else np.full(n, np.nan),
        profile=profile,
        shared=shared,
    )


def _best(x: Floats, top: int) -> Ints:
    """Best columns first; ties go to the lowest column."""
    if x.shape[1] <= 4 * top:
        return np.argsort(-x, axis=1, kind="stable")[:, :top]
    found = np.sort(np.argpartition(-x, top - 1, axis=1)[:, :top], axis=1)
    order = np.argsort(-np.take_along_axis(x, found, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(found, order, axis=1)
    best[:, 0] = x.argmax(axis=1)
    return np.asarray(best)


def _levels(cell: Evidence, finite: Bools) -> int:
    rows = np.flatnonzero(finite)
    if not len(rows):
        return 0
    chosen = np.unique(rows[np.linspace(0, len(rows) - 1, _DISTINCT_ROWS).astype(int)])
    return len(np.unique(np.asarray(cell.scores[chosen])))


def _profile(cell: Evidence, rows: Ints, *, probabilities: bool) -> tuple[Floats, float]:
    """Mean of standardised rows (of log scores, for probabilities), and its share of them all.

    Standardised, a row does not tell a model's temperature; over images, what is left is which
    classes are favoured. At most 4096 rows spread over the cell are read.
    """
    total = np.zeros(cell.width)
    if not len(rows) or cell.width < 2:
        return total, 0.0
    if len(rows) > _SAMPLED:
        rows = rows[np.linspace(0, len(rows) - 1, _SAMPLED).astype(int)]
    for part in chunks(len(rows), cell.width):
        x = np.asarray(cell.scores[rows[part]], dtype=np.float64)
        if probabilities:
            x = np.log(np.maximum(x, 1e-12))
        x = x - x.mean(axis=1, keepdims=True)
        total += (x / np.maximum(x.std(axis=1, keepdims=True), 1e-300)).sum(axis=0)
    profile = total / len(rows)
    return profile, float((profile**2).mean())
