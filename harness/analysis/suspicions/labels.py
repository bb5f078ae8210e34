"""Classes that don't mean what they are taken for: shifted by one, or in another order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.analysis.suspicions.evidence import Evidence, Ints
from harness.analysis.suspicions.suspicion import Suspicion

_SHIFTS = (-1, 1)
_ENOUGH = 20
_CLEARLY = 1.5


@dataclass(frozen=True)
class Shift:
    """By how many columns the classes lie elsewhere than declared.

    Attributes:
        columns: add this to the declared class offset to get the one that fits.
        suspicion: what to report.
    """

    columns: int
    suspicion: Suspicion


def accuracy(cell: Evidence, shift: int = 0) -> float | None:
    """Top-1 accuracy with the class offset moved by `shift` columns; None without labels."""
    known = cell.known
    if cell.labels is None or not known.any():
        return None
    truth = np.asarray(cell.labels)[known]
    return float((cell.summary.label[known] - cell.class_offset - shift == truth).mean())


def chance(cell: Evidence) -> float:
    """Accuracy of guessing among the model's classes."""
    return 1 / max(1, cell.width - cell.class_offset)


def class_offset(
    cell: Evidence, others: Sequence[tuple[str, Evidence]], like: dict[int, float]
) -> Shift | None:
    """Classes off by one, told by labels, by other cells, or by the classes a model favours.

    Args:
        cell: the cell.
        others: other cells over the same images.
        like: the cell's `likeness` by shift (0, -1, 1); empty where it doesn't apply.
    """
    by_labels = _by_labels(cell)
    by_others = _by_others(cell, others)
    best = max(like, key=lambda k: like[k]) if like and cell.known_order else 0
    by_profile = best if best and like[best] > _CLEARLY * like[0] else 0
    found = by_labels[0] or by_others[0] or by_profile
    if not found:
        return None
    said: list[str] = []
    numbers: dict[str, float] = {"shift": found}
    sure = 0
    if by_labels[0] == found:
        _, right, at_zero, known = by_labels
        numbers |= {"accuracy": at_zero / known, "accuracy_shifted": right / known}
        said.append(
            f"Top-1 accuracy over {known} labelled images is {at_zero / known:.3f}; with every "
            f"class one {_side(found)} it is {right / known:.3f}."
        )
        sure += 2 if right >= _ENOUGH and right >= 5 * max(1, at_zero) else 1
    if by_others[0] == found:
        said.append(by_others[1])
        sure += 1
    if by_profile == found:
        numbers |= {"likeness": like[0], "likeness_shifted": like[found]}
        said.append(
            f"Classes rise and fall together as in ImageNet models once moved by one: "
            f"{like[found]:.2f} of the variance lies where theirs does, {like[0]:.2f} as it is."
        )
        sure += 1
    # The outputs themselves are in order where other cells or the profile agree with them.
    usual = (
        bool(like)
        and cell.known_order
        and all(like[0] > _CLEARLY * like[shift] for shift in _SHIFTS)
    )
    in_order = bool(by_labels[0]) and not by_others[0] and usual
    title = "Labels are off by one" if in_order else "Classes are off by one"
    if in_order:
        said.append("The model's own classes are where an ImageNet model has them.")
    return Shift(
        0 if in_order else found,
        Suspicion(
            "class-offset",
            title,
            "certain" if sure >= 2 else "likely",
            tuple(said),
            (
                "Check whether labels count from 0 or from 1."
                if in_order
                else f"Set the class offset to {cell.class_offset + found} (a background class "
                "comes first in many TensorFlow models), or check whether labels count from 0."
            ),
            numbers,
        ),
    )


def _side(shift: int) -> str:
    return "column later" if shift > 0 else "column earlier"


def _by_labels(cell: Evidence) -> tuple[int, int, int, int]:
    """Shift, images right with it, images right without, labelled images."""
    known = int(cell.known.sum())
    right = {k: round((accuracy(cell, k) or 0.0) * known) for k in (0, *_SHIFTS)}
    best = max(_SHIFTS, key=lambda k: right[k])
    enough = right[best] >= 4 and right[best] >= 3 * right[0] and right[best] >= 0.05 * known
    # By chance the better of two shifts gets so many only with this probability.
    guess = float(stats.binom.sf(right[best] - 1, max(1, known), chance(cell))) * len(_SHIFTS)
    if not enough or guess > 1e-4 or (cell.width - cell.class_offset) < 3:
        return 0, 0, right[0], known
    return best, right[best], right[0], known


def _by_others(cell: Evidence, others: Sequence[tuple[str, Evidence]]) -> tuple[int, str]:
    mine = cell.summary.label - cell.class_offset
    for name, other in others:
        both = cell.summary.finite & other.summary.finite
        theirs = other.summary.label - other.class_offset
        if both.sum() < 10 or len(np.unique(theirs[both])) < 5:
            continue
        right = {k: int((mine - k == theirs)[both].sum()) for k in (0, *_SHIFTS)}
        best = max(_SHIFTS, key=lambda k: right[k])
        if right[best] < 0.2 * both.sum() or right[best] < 5 * max(1, right[0]):
            continue
        # Of two cells that differ by one, the one with the better labels is in order.
        a, b = accuracy(cell), accuracy(other)
        if a is not None and b is not None and a > b:
            continue
        return best, (
            f"{name} gives the same class for {right[0]} of {int(both.sum())} images, and for "
            f"{right[best]} once moved by one."
        )
    return 0, ""


def shuffled_labels(
    cell: Evidence, others: Sequence[tuple[str, Evidence]], misfit: float | None
) -> Suspicion | None:
    """Accuracy at chance while nothing else is wrong: labels or classes are in another order.

    Args:
        cell: the cell.
        others: other cells over the same images.
        misfit: of the ImageNet profile; None where it doesn't apply.
    """
    known = int(cell.known.sum())
    found = accuracy(cell)
    if found is None or known < _ENOUGH or (cell.width - cell.class_offset) < 5:
        return None
    limit = float(stats.binom.ppf(0.9999, known, 2 * chance(cell))) / known
    if found > max(limit, 2 * chance(cell)):
        return None
    truth = np.asarray(cell.labels)[cell.known]
    mine = cell.summary.label[cell.known] - cell.class_offset
    varied = len(np.unique(mine))
    if len(np.unique(truth)) < 3 or varied < max(3, 0.05 * min(known, cell.width)):
        return None
    said = [f"Top-1 accuracy over {known} labelled images is {found:.3f}: chance."]
    numbers: dict[str, float] = {"accuracy": found}
    explained = _explanation(truth, mine, cell)
    agreed, at_odds = _companions(cell, others)
    healthy = misfit is not None and misfit < 1.5 and cell.known_order
    if not (explained or agreed or at_odds or healthy):
        return None
    if explained:
        said.append(explained[0])
        numbers["explained"] = explained[1]
    if agreed:
        said.append(agreed)
    if at_odds:
        said.append(at_odds)
    if healthy and misfit is not None:
        numbers["misfit"] = misfit
        said.append(f"The outputs look like a healthy ImageNet model's (misfit {misfit:.2f}).")
    said.append(
        f"It is sure of its answers (median confidence "
        f"{float(np.nanmedian(cell.summary.confidence)):.2f}) and gives {varied} classes."
    )
    own = bool(at_odds) and not agreed
    return Suspicion(
        "shuffled-labels",
        "The model's classes are in another order" if own else "Labels are not the model's classes",
        "certain" if explained and (agreed or healthy or at_odds) else "likely",
        tuple(said),
        (
            "Check the class list that belongs to these weights."
            if own
            else "Take labels from WordNet ids through the model's own class list, not by counting "
            "folders, and check that images and labels are in the same order."
        ),
        numbers,
    )


def _explanation(truth: Ints, mine: Ints, cell: Evidence) -> tuple[str, float] | None:
    """A rule that takes labels to answers: another image's, counted, sorted by name, or any."""
    n = len(truth)
    usual = max(0.1, 5 * chance(cell))
    for lag in (-1, 1):
        share = float((np.roll(mine, lag) == truth).mean())
        by_next = float((np.roll(truth, 1) == truth).mean())
        if share > max(usual, 2 * by_next):
            which = "next" if lag < 0 else "previous"
            return f"{share:.0%} of labels are the answer to the {which} image.", share
    order = np.argsort(truth, kind="stable")
    rising = _rising(truth[order], mine[order])
    if rising / n > 0.3 and rising > 4 * np.sqrt(n):
        said = (
            f"Labels and answers rise together: {rising} of {n} images fit one rising rule from "
            "label to class, as when folders are counted."
        )
        return said, rising / n
    by_name = _by_name(truth, mine, cell)
    if by_name > usual:
        return f"Counting classes by their names' order, accuracy is {by_name:.3f}.", by_name
    mapped, tested = _mapped(truth, mine)
    if tested >= _ENOUGH and mapped / tested > max(0.15, 10 * chance(cell)):
        share = mapped / tested
        said = (
            f"A fixed exchange of classes, found on half of the images, is right on {share:.0%} "
            f"of {tested} others."
        )
        return said, share
    return None


def _rising(truth: Ints, mine: Ints) -> int:
    """Most images on one rule that rises with the label: the longest rising run of answers.

    Images of a label count by its commonest answer, so that many of one class are no rule.
    """
    tails: list[int] = []
    weights = 0
    for label in np.unique(truth):
        values, counts = np.unique(mine[truth == label], return_counts=True)
        value = int(values[counts.argmax()])
        place = bisect_left(tails, value)
        if place == len(tails):
            tails.append(value)
        else:
            tails[place] = value
        weights += 1
    return len(tails) if weights == len(truth) else round(len(tails) * len(truth) / weights)


def _by_name(truth: Ints, mine: Ints, cell: Evidence) -> float:
    if cell.classes is None:
        return 0.0
    listed = sorted(cell.classes)
    by_name = sorted(range(len(listed)), key=lambda i: listed[i][2].lower())
    if by_name == list(range(len(listed))):
        return 0.0
    place = np.empty(len(listed), dtype=np.int64)
    place[by_name] = np.arange(len(listed))
    inside = (mine >= 0) & (mine < len(listed)) & (truth >= 0) & (truth < len(listed))
    if not inside.any():
        return 0.0
    forth = float((place[mine[inside]] == truth[inside]).mean())
    back = float((place[truth[inside]] == mine[inside]).mean())
    return max(forth, back)


def _mapped(truth: Ints, mine: Ints) -> tuple[int, int]:
    """Images of every second place that the commonest answer to their label predicts."""
    right = tested = 0
    for label in np.unique(truth):
        answers = mine[truth == label]
        learn, test = answers[::2], answers[1::2]
        if len(learn) and len(test):
            values, counts = np.unique(learn, return_counts=True)
            right += int((test == values[counts.argmax()]).sum())
            tested += len(test)
    return right, tested


def _companions(cell: Evidence, others: Sequence[tuple[str, Evidence]]) -> tuple[str, str]:
    """A cell that agrees with this one, and one that is right where this one is not.

    That the same weights agree with themselves, wherever they run, says nothing of labels.
    """
    mine = cell.summary.label - cell.class_offset
    agreed = at_odds = ""
    for name, other in others:
        both = cell.summary.finite & other.summary.finite
        theirs = other.summary.label - other.class_offset
        if both.sum() < _ENOUGH or len(np.unique(theirs[both])) < 5:
            continue
        share = float((mine == theirs)[both].mean())
        right = accuracy(other)
        same_weights = bool(cell.weights) and cell.weights == other.weights
        if share >= 0.3 and not agreed and not same_weights:
            agreed = f"{name} gives the same class for {share:.0%} of the images."
        if right is not None and right >= 0.2 and share < 0.05 and not at_odds:
            at_odds = (
                f"{name} is right on {right:.0%} of the same labels, and agrees on {share:.0%}."
            )
    return agreed, at_odds
