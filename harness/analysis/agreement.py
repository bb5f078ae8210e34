"""How far two cells' answers over the same images agree: labels, rankings, scores, values.

Everything is computed in chunks of images, so that 50,000 images of 1000 classes pass through a
few tens of MiB. What cannot be measured for a pair is None, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.analysis.pair_agreement import Flip, PairAgreement, PerImage
from harness.analysis.ranking import NO_CLASS
from harness.analysis.ranks import Integers, Ranked, rank
from harness.analysis.significance import mcnemar_exact, wilson
from harness.analysis.values import (
    Array,
    OutputDifference,
    Values,
    incomparable,
    largest,
    mean,
    value_difference,
)
from harness.errors import UsageError


class NamedArray(Protocol):
    """An output beside the class scores."""

    @property
    def name(self) -> str:
        """The output's name."""

    @property
    def values(self) -> Array:
        """[N, ...]."""


class Answers(Protocol):
    """What `compare` needs of a cell's answers; `store.load.CellAnswers` is one."""

    @property
    def scores(self) -> Array | None:
        """Class scores [N, C], or None."""

    @property
    def kind(self) -> str:
        """`logits`, `probabilities` or `values`."""

    @property
    def others(self) -> Sequence[NamedArray]:
        """The outputs that are not class scores."""


@dataclass(frozen=True)
class PlainOutput:
    """An output given as plain values."""

    name: str
    values: Array = field(repr=False)


@dataclass(frozen=True)
class PlainAnswers:
    """Answers given as plain arrays: for tests and for callers without a store."""

    scores: Array | None = field(repr=False)
    kind: str = "logits"
    others: Sequence[PlainOutput] = ()


def compare(
    a: Answers,
    b: Answers,
    labels: Sequence[int | None] | Integers | None = None,
    names: Sequence[str] | None = None,
) -> PairAgreement:
    """Measure the agreement of b with the reference a over the same images in the same order.

    Args:
        a: the reference's answers.
        b: the other's answers.
        labels: N ground-truth classes; None or a negative number where there is none.
        names: N names for the list of flips.

    Raises:
        UsageError: the two do not hold the same number of images or classes, or only one has
            class scores.
    """
    count = _common_count(a, b)
    truth = _truth(labels, count)
    notes: list[str] = []
    values = _all_values(a, b, count, notes)
    ranked = None
    if a.scores is not None and b.scores is not None:
        ranked = rank(a.scores, b.scores, _common_kind(a, b), notes)
    else:
        notes.append("no output holds class scores: outputs are compared by value only")
    return _summary(count, a, ranked, values, truth, names, notes)


def _common_count(a: Answers, b: Answers) -> int:
    if (a.scores is None) != (b.scores is None):
        raise UsageError(
            "One cell has class scores and the other has none, so they cannot be compared.",
            "Declare the model's --output (logits, probabilities or values) and sweep again.",
        )
    if a.scores is not None and b.scores is not None and a.scores.shape != b.scores.shape:
        (rows_a, classes_a), (rows_b, classes_b) = a.scores.shape, b.scores.shape
        remedy = "Compare cells of the same images."
        if abs(classes_a - classes_b) == 1:
            remedy = "Where one has a background class at index 0, sweep it with --class-offset 1."
        raise UsageError(
            f"Scores of {rows_a} images and {classes_a} classes cannot be compared with "
            f"{rows_b} images and {classes_b} classes.",
            remedy,
        )
    arrays = [x.scores for x in (a, b) if x.scores is not None]
    arrays += [output.values for x in (a, b) for output in x.others]
    counts = {len(array) for array in arrays}
    if len(counts) != 1 or 0 in counts:
        raise UsageError(
            f"Answers over {', '.join(map(str, sorted(counts))) or 'no'} images cannot be compared.",
            "Compare cells of the same images.",
        )
    return counts.pop()


def _truth(labels: Sequence[int | None] | Integers | None, count: int) -> Integers:
    if labels is None:
        return np.full(count, NO_CLASS, dtype=np.int64)
    truth = np.array(
        [NO_CLASS if label is None else int(label) for label in labels], dtype=np.int64
    )
    if len(truth) != count:
        raise UsageError(f"{len(truth)} labels were given for {count} images.")
    return np.where(truth < 0, NO_CLASS, truth)


def _common_kind(a: Answers, b: Answers) -> str | None:
    return a.kind if a.kind == b.kind else None


def _all_values(a: Answers, b: Answers, count: int, notes: list[str]) -> list[Values]:
    """Value differences of each output: class scores first, then the others by position."""
    found = []
    if a.scores is not None and b.scores is not None:
        reason = "" if a.kind == b.kind else f"{a.kind} against {b.kind}"
        found.append(value_difference("scores", a.scores, b.scores, count, reason))
    if len(a.others) != len(b.others):
        note = f"{len(a.others)} other outputs in a, {len(b.others)} in b"
        found.append(incomparable("(other outputs)", count, note))
    else:
        found += [
            value_difference(x.name, x.values, y.values, count)
            for x, y in zip(a.others, b.others, strict=True)
        ]
    for values in found:
        if not values.difference.comparable:
            notes.append(f"{values.difference.name}: not comparable ({values.difference.reason})")
        elif values.difference.nonfinite_a or values.difference.nonfinite_b:
            notes.append(
                f"{values.difference.name}: NaN or infinity in {values.difference.nonfinite_a} "
                f"images of a and {values.difference.nonfinite_b} of b"
            )
    return found


def _summary(
    count: int,
    a: Answers,
    ranked: Ranked | None,
    values: list[Values],
    truth: Integers,
    names: Sequence[str] | None,
    notes: list[str],
) -> PairAgreement:
    outputs = tuple(v.difference for v in values)
    finite_a = np.logical_and.reduce([v.finite_a for v in values])
    finite_b = np.logical_and.reduce([v.finite_b for v in values])
    measurable = bool((finite_a & finite_b).all()) and all(o.comparable for o in outputs)
    like = bool(outputs) and outputs[0].comparable
    nothing = np.full(count, np.nan)
    change = ranked.margin_b - ranked.margin_a if ranked is not None and like else nothing
    right = _right(ranked, truth)
    flipped = ranked.best_a[:, 0] != ranked.best_b[:, 0] if ranked else np.zeros(count, dtype=bool)
    flips = int(flipped.sum()) if ranked else None
    low, high = wilson(flips, count) if flips is not None else (None, None)
    labelled = int((truth != NO_CLASS).sum())
    judged = ranked is not None and labelled > 0
    broke, mended = right[0] & ~right[1], ~right[0] & right[1]
    per_image = PerImage(
        flipped=flipped,
        broke=broke,
        nonfinite=~finite_b,
        max_abs_diff=np.max([v.max_abs for v in values], axis=0),
        mean_abs_diff=np.max([v.mean_abs for v in values], axis=0),
        cosine=np.min([v.cosine for v in values], axis=0),
        jaccard=ranked.jaccard if ranked else nothing,
        rbo=ranked.rbo if ranked else nothing,
        tau=ranked.tau if ranked else nothing,
        kl=ranked.kl if ranked else nothing,
        margin_change=change,
    )
    return PairAgreement(
        images=count,
        classes=a.scores.shape[1] if a.scores is not None else None,
        top=ranked.best_a.shape[1] if ranked else None,
        identical=bool(outputs) and all(o.identical for o in outputs),
        flips=flips,
        flip_share=flips / count if flips is not None else None,
        flip_low=low,
        flip_high=high,
        ties_a=ranked.ties[0] if ranked else None,
        ties_b=ranked.ties[1] if ranked else None,
        nonfinite_a=int((~finite_a).sum()),
        nonfinite_b=int((~finite_b).sum()),
        unranked=_unranked(ranked),
        jaccard=mean(per_image.jaccard),
        rbo=mean(per_image.rbo),
        tau=mean(per_image.tau),
        max_abs_diff=_over(outputs, "max_abs_diff", max) if measurable else None,
        mean_abs_diff=_over(outputs, "mean_abs_diff", max) if measurable else None,
        cosine=_over(outputs, "cosine", min) if measurable else None,
        kl=mean(per_image.kl) if measurable else None,
        kl_max=largest(per_image.kl) if measurable else None,
        margin_change=mean(np.abs(change)),
        margin_change_max=largest(np.abs(change)),
        labelled=labelled,
        top1_a=float(right[0].sum() / labelled) if judged else None,
        top1_b=float(right[1].sum() / labelled) if judged else None,
        top5_a=float(right[2].sum() / labelled) if judged else None,
        top5_b=float(right[3].sum() / labelled) if judged else None,
        broke=int(broke.sum()) if judged else None,
        mended=int(mended.sum()) if judged else None,
        mcnemar_p=mcnemar_exact(int(broke.sum()), int(mended.sum())) if judged else None,
        outputs=outputs,
        notes=tuple(notes),
        flipped=_flips(ranked, flipped, truth, names),
        per_image=per_image,
    )


def _unranked(ranked: Ranked | None) -> int:
    if ranked is None:
        return 0
    return int(((ranked.best_a[:, 0] == NO_CLASS) & (ranked.best_b[:, 0] == NO_CLASS)).sum())


def _over(outputs: tuple[OutputDifference, ...], name: str, choose: Any) -> float | None:
    found = [getattr(output, name) for output in outputs]
    return choose(found) if found and None not in found else None


def _right(ranked: Ranked | None, truth: Integers) -> list[npt.NDArray[np.bool_]]:
    """Right at top-1 in a and b, right within the top list in a and b: bool [N] each."""
    known = truth != NO_CLASS
    if ranked is None:
        return [np.zeros(len(truth), dtype=bool)] * 4
    first = [known & (best[:, 0] == truth) for best in (ranked.best_a, ranked.best_b)]
    within = [
        known & (best == truth[:, None]).any(axis=1) for best in (ranked.best_a, ranked.best_b)
    ]
    return first + within


def _flips(
    ranked: Ranked | None,
    flipped: npt.NDArray[np.bool_],
    truth: Integers,
    names: Sequence[str] | None,
) -> tuple[Flip, ...]:
    if ranked is None:
        return ()
    return tuple(
        Flip(
            image=i,
            name=names[i] if names is not None else "",
            label=_known_class(truth[i]),
            a=_known_class(ranked.best_a[i, 0]),
            b=_known_class(ranked.best_b[i, 0]),
            margin_a=_known_float(ranked.margin_a[i]),
            margin_b=_known_float(ranked.margin_b[i]),
        )
        for i in np.flatnonzero(flipped).tolist()
    )


def _known_class(value: np.int64) -> int | None:
    return None if value == NO_CLASS else int(value)


def _known_float(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
