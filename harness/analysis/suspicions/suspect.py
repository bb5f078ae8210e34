"""All rules over one cell, in the order in which one finding makes others pointless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from harness.analysis.suspicions.broken import constant, not_finite, quantised_badly, stuck
from harness.analysis.suspicions.evidence import Evidence
from harness.analysis.suspicions.inputs import FITTING, input_mistakes, resemblance
from harness.analysis.suspicions.labels import accuracy, chance, class_offset, shuffled_labels
from harness.analysis.suspicions.softmax import double_softmax, kind_mismatch
from harness.analysis.suspicions.suspicion import ORDER, Suspicion

_ENOUGH = 20
_LOW = 0.25
_MANY_CLASSES = 100


def suspect(cell: Evidence, others: Sequence[tuple[str, Evidence]] = ()) -> list[Suspicion]:
    """What is probably wrong with a cell, told from outputs alone; the surest first.

    Args:
        cell: its scores, labels and classes, as far as they are known.
        others: other cells over the same images, by name, healthy or not.

    Returns:
        Nothing for a cell that looks healthy. A cell may have several suspicions; `low-accuracy`
        stands alone, where it is all that can be said.

    Raises:
        ValueError: scores that are not [N, C], or labels or another cell of another N.
    """
    _check(cell)
    for name, other in others:
        if other.count != cell.count:
            raise ValueError(f"{name} has {other.count} images, this cell {cell.count}")
    if cell.count == 0 or cell.width == 0:
        return []
    beside = [(name, other) for name, other in others if other.width and other.kind != "values"]
    whole = tuple(other for _, other in beside if other.summary.finite.all())
    found = [not_finite(cell)]
    usable = int(cell.summary.finite.sum())
    if usable >= max(1, cell.count // 10):
        fixed = constant(cell, whole)
        found.append(fixed)
        if not fixed:
            found.append(stuck(cell, whole))
            if cell.kind != "values" and cell.width > 1:
                found += _of_scores(cell, beside, hung=found[-1] is not None)
    kept = [suspicion for suspicion in found if suspicion]
    return sorted(kept, key=lambda s: ORDER.index(s.confidence))


def suspect_all(cells: Mapping[str, Evidence]) -> dict[str, list[Suspicion]]:
    """Every cell judged beside all the others over the same images, by name."""
    return {
        name: suspect(
            cell, [(n, c) for n, c in cells.items() if n != name and c.count == cell.count]
        )
        for name, cell in cells.items()
    }


def _check(cell: Evidence) -> None:
    if cell.scores.ndim != 2:
        raise ValueError(f"scores are [N, C], not {list(cell.scores.shape)}")
    if cell.labels is not None and np.shape(cell.labels) != (cell.count,):
        raise ValueError(f"{np.shape(cell.labels)} labels for {cell.count} images")


def _of_scores(
    cell: Evidence, others: Sequence[tuple[str, Evidence]], *, hung: bool
) -> list[Suspicion | None]:
    """The rules for class scores that are finite and vary."""
    twice = double_softmax(cell)
    found: list[Suspicion | None] = [quantised_badly(cell), twice or kind_mismatch(cell)]
    # After a second softmax the small scores, which profiles are made of, are rounded away.
    fits = {} if twice else {shift: fit.misfit for shift, fit in cell.fits.items()}
    offset = class_offset(cell, others, {} if twice else cell.likeness)
    shift = offset.columns if offset else 0
    found.append(offset.suspicion if offset else None)
    inputs = [] if twice or hung else input_mistakes(cell, others, shift)
    found += inputs
    misfit = fits.get(shift)
    if not offset and not (inputs and (misfit is None or misfit > FITTING)):
        found.append(shuffled_labels(cell, others, misfit))
    informal = {"probabilities-as-logits", "missing-softmax"}
    if not hung and all(s is None or s.kind in informal for s in found):
        found.append(_low_accuracy(cell, others))
    return found


def _low_accuracy(cell: Evidence, others: Sequence[tuple[str, Evidence]]) -> Suspicion | None:
    """Too few right answers, for a reason that outputs don't tell."""
    right, known = accuracy(cell), int(cell.known.sum())
    if right is None or known < _ENOUGH:
        return None
    hits = round(right * known)
    said = [f"Top-1 accuracy over {known} labelled images is {right:.3f}."]
    numbers = {"accuracy": right, "chance": chance(cell)}
    title = "Accuracy is low, and the outputs do not say why"
    # The usual 1 in 1000: a healthy model just above the limit is not accused for bad luck.
    by_chance = float(stats.binom.sf(hits - 1, known, chance(cell))) > 0.001
    many = cell.width - cell.class_offset >= _MANY_CLASSES
    low = many and float(stats.binom.cdf(hits, known, _LOW)) < 0.001
    better = [
        (other_right, name)
        for name, other in others
        if (other_right := accuracy(other)) is not None
        and right < 0.5 * other_right
        and float(stats.binom.cdf(hits, known, 0.5 * other_right)) < 0.001
    ]
    if by_chance:
        title = "Accuracy is at chance: untrained, or something is wrong"
        said.append(f"Guessing would give {chance(cell):.3f}.")
    elif better:
        most, name = max(better)
        said.append(f"{name} reaches {most:.3f} over the same images.")
        numbers["accuracy_other"] = most
    elif not low:
        return None
    fit = cell.fits.get(0)
    if fit and cell.known_order:
        numbers["misfit"] = fit.misfit
        like = resemblance(fit)
        if like and fit.misfit < 2 * FITTING:
            said.append(f"The classes that are favoured have moved as under {like}.")
    return Suspicion(
        "low-accuracy",
        title,
        "possible",
        tuple(said),
        "Check that the weights are trained and were loaded, and that images, labels and the "
        "model's recipe belong together.",
        numbers,
    )
