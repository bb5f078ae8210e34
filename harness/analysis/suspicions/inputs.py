"""Inputs prepared wrongly: swapped colours, transposed sides, wrong normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.suspicions import profiles
from harness.analysis.suspicions.evidence import Evidence
from harness.analysis.suspicions.labels import accuracy, chance
from harness.analysis.suspicions.profiles import GROUPS, Fit
from harness.analysis.suspicions.suspicion import Confidence, Suspicion

POSSIBLE = {"bgr": 6.5, "sides-swapped": 6.0, "wrong-normalisation": 6.0}
"""Strengths from which a cell alone is suspected: above all healthy cells of the validation."""

LIKELY = 8.0
FITTING = 1.5
"""A misfit below which outputs are those of a healthy or little disturbed ImageNet model."""

_PAIRED = 6.0
_EXPLAINED = 3.0
_WEIGHT = {"bgr": 0.3, "sides-swapped": 0.3, "wrong-normalisation": 0.2}
_FOREIGN = 4.5
_FEWEST = 10
_STEADY = 50
_CLEAN = 4.5
_COMPANIONS = 3
_LARGE_LOGITS = 12.0
_VARIED = 5

_TITLES = {
    "bgr": "Colour channels are swapped (BGR for RGB)",
    "sides-swapped": "Height and width are swapped",
    "wrong-normalisation": "Inputs are normalised wrongly",
}
_REMEDIES = {
    "bgr": "Check the order of the channels (OpenCV reads BGR) against the model's recipe.",
    "sides-swapped": "Check the axes of the input (NCHW or NHWC, height before width) and of what "
    "reads the images.",
    "wrong-normalisation": "Check scale, mean and standard deviation against the model's recipe "
    "(tf: x/127.5 - 1; torch: (x/255 - mean) / std; raw: 0 to 255).",
}
_DETAILS = {
    "bgr": "red and blue exchanged",
    "bgr-balanced": "red and blue exchanged after the mean was subtracted",
    "grb": "red and green exchanged",
    "transposed": "sides exchanged, or a quarter turn",
    "low-contrast": "values too small, as 0..1 for -1..1 or a division too many",
    "high-contrast": "values too large, as another recipe's standard deviation",
    "unscaled": "values not divided, as 0..255",
    "no-mean": "the mean not subtracted",
    "noise": "noise",
    "blur": "blur",
    "jpeg": "strong JPEG compression",
    "upside-down": "images upside down",
    "grey": "images without colour",
}


@dataclass(frozen=True)
class _Pair:
    name: str
    other: Evidence
    fit: Fit
    agreement: float


def input_mistakes(
    cell: Evidence, others: Sequence[tuple[str, Evidence]], shift: int
) -> list[Suspicion]:
    """Mistakes of input preparation.

    Args:
        cell: the cell.
        others: other cells over the same images; those that look healthy are compared with.
        shift: columns that the class offset is wrong by.
    """
    alone = cell.fits.get(shift)
    count = int(cell.summary.finite.sum())
    found: dict[str, Suspicion] = {}
    pairs = _pairs(cell, others, shift) if alone and cell.known_order else []
    if alone and count >= _FEWEST and alone.misfit <= _FOREIGN and cell.known_order:
        most = max(alone.strength.values())
        for kind in GROUPS:
            suspicion = _by_profile(cell, kind, alone, most, pairs)
            if suspicion:
                found[kind] = suspicion
    by_scale = _by_scale(cell, others)
    if by_scale:
        before = found.get(by_scale.kind)
        found[by_scale.kind] = _joined(before, by_scale) if before else by_scale
        if alone and alone.misfit > 2 * FITTING:
            # Little is left of the images in such outputs: other signatures mean nothing.
            found = {by_scale.kind: found[by_scale.kind]}
    return list(found.values())


def resemblance(fit: Fit) -> str:
    """The disturbance of images that a shift resembles most, or ""."""
    grouped = {name for members in GROUPS.values() for name in members}
    rest = {name: weight for name, weight in fit.weights.items() if name not in grouped}
    name = max(rest, key=lambda n: rest[n])
    return _DETAILS.get(name, name) if rest[name] >= 0.4 else ""


def _pairs(cell: Evidence, others: Sequence[tuple[str, Evidence]], shift: int) -> list[_Pair]:
    """Other cells that look healthy, those that agree most with this one first."""
    mine = cell.profile(shift)
    if mine is None:
        return []
    found = []
    for name, other in others:
        fit = other.fits.get(0)
        if (
            fit is None
            or not other.known_order
            or fit.misfit > FITTING
            or max(fit.strength.values()) > _CLEAN
        ):
            continue
        theirs = other.profile()
        right = accuracy(other)
        if theirs is None or (right is not None and right < 5 * chance(other)):
            continue
        both = cell.summary.finite & other.summary.finite
        a = cell.summary.label - cell.class_offset - shift
        agreement = float((a == other.summary.label - other.class_offset)[both].mean())
        found.append((agreement, name, other, theirs))
    best = sorted(found, key=lambda entry: -entry[0])[:_COMPANIONS]
    known, count = profiles.shipped(), int(cell.summary.finite.sum())
    return [
        _Pair(name, other, known.fit(mine - theirs, count), agreement)
        for agreement, name, other, theirs in best
    ]


def _by_profile(
    cell: Evidence, kind: str, alone: Fit, most: float, pairs: Sequence[_Pair]
) -> Suspicion | None:
    strength, weight = alone.strength[kind], alone.weight[kind]
    # What a strong mistake leaves unexplained looks like a little of another one.
    shadow = strength < 0.5 * most
    # Few images are a poor sample of content: strengths of healthy cells scatter more.
    count = int(cell.summary.finite.sum())
    limit = POSSIBLE[kind] * max(1.0, (_STEADY / count) ** 0.25)
    sure = strength >= limit and weight >= _WEIGHT[kind] and not shadow
    # Agreement cannot choose the companion: a mistake may agree most with another mistake's cell.
    paired = [p for p in pairs if p.fit.weight[kind] >= 0.7 * _WEIGHT[kind]]
    together = min((p.fit.strength[kind] for p in paired), default=0.0)
    if pairs and len(paired) < len(pairs):
        together = 0.0
    if pairs:
        largest = min(max(p.fit.strength.values()) for p in pairs)
        if sure and together < _EXPLAINED:
            return None
        if not sure and (together < _PAIRED or together < 0.5 * largest):
            return None
    elif not sure:
        return None
    both = strength >= LIKELY and together >= 1.5 * LIKELY
    confidence: Confidence = "possible"
    if max(strength if not pairs or together >= _PAIRED else 0.0, together) >= LIKELY:
        confidence = "certain" if both and alone.misfit < FITTING else "likely"
    members = [name for name in alone.weights if name in GROUPS[kind]]
    detail = max(members, key=lambda name: alone.weights[name])
    said = [
        f"The classes that are favoured over {count} images have moved as "
        f"this mistake moves them in known ImageNet models ({_DETAILS.get(detail, detail)}): "
        f"strength {strength:.1f}, where healthy models stay below {limit:.1f}, "
        f"{weight:.2f} of the usual size."
    ]
    numbers = {"strength": strength, "weight": weight, "misfit": alone.misfit}
    if pairs:
        said.append(f"Against {pairs[0].name} over the same images the strength is {together:.1f}.")
        numbers["strength_paired"] = together
    right = accuracy(cell)
    if right is not None:
        said.append(f"Top-1 accuracy is {right:.3f}{_beside(pairs)}.")
        numbers["accuracy"] = right
    if kind == "bgr":
        said += _unmoved(cell, pairs)
    return Suspicion(kind, _TITLES[kind], confidence, tuple(said), _REMEDIES[kind], numbers)


def _beside(pairs: Sequence[_Pair]) -> str:
    known = [(p.name, accuracy(p.other)) for p in pairs]
    told = [f"{value:.3f} of {name}" for name, value in known if value is not None]
    return f", beside {told[0]}" if told else ""


def _unmoved(cell: Evidence, pairs: Sequence[_Pair]) -> list[str]:
    """Images whose scores another cell of the same model gives alike: greyscale, under a swap."""
    for pair in pairs:
        a, b = cell.summary, pair.other.summary
        both = a.finite & b.finite
        rows = np.flatnonzero(both)[:4096]
        if cell.width != pair.other.width or len(rows) < _FEWEST:
            continue
        x = np.asarray(cell.scores[rows], dtype=np.float64)
        y = np.asarray(pair.other.scores[rows], dtype=np.float64)
        moved = np.abs(x - y).mean(axis=1) / np.maximum(y.std(axis=1), 1e-12)
        still = int((moved < 0.02 * np.median(moved)).sum())
        if 0 < still <= 0.3 * len(rows) and np.median(moved) > 0.05:
            return [
                f"{still} of {len(rows)} images have nearly the scores of {pair.name}, while the "
                "others moved: a swap of channels leaves greyscale images as they are."
            ]
    return []


def _by_scale(cell: Evidence, others: Sequence[tuple[str, Evidence]]) -> Suspicion | None:
    """Logits far too large, or answers that hardly depend on the image."""
    seen, count = cell.summary, int(cell.summary.finite.sum())
    if count < _FEWEST or cell.width < 5:
        return None
    deviation = float(np.nanmedian(seen.deviation))
    saturated = float((seen.confidence[seen.finite] > 0.9999).mean())
    classes = len(np.unique(seen.label[seen.finite]))
    right = accuracy(cell)
    said: list[str] = []
    numbers = {"deviation": deviation, "shared": seen.shared, "classes": float(classes)}
    trained = cell.known_order or (right is not None and right > max(0.05, 5 * chance(cell)))
    large = not seen.sums and deviation > _LARGE_LOGITS and saturated > 0.3 and trained
    if large:
        said.append(
            f"Scores of an image spread by {deviation:.0f} (median standard deviation; 1 to 4 is "
            f"usual), and {saturated:.0%} of images are given a probability above 0.9999: the "
            "inputs are too large, as 0..255 that were not scaled."
        )
    varied = _classes_there(cell, others)
    # Where nothing says that the images differ, they may all be of one class.
    expected, least = (varied, 0.6) if varied >= _VARIED else (count if count >= 100 else 0, 0.85)
    expected = min(expected, cell.width)
    collapsed = seen.shared >= least and expected >= _VARIED and classes <= 0.2 * expected
    if varied and varied < _VARIED:
        collapsed = False
    if collapsed and (trained or large):
        said.append(
            f"The answers hardly depend on the image: {seen.shared:.0%} of the scores' variance is "
            f"the same for all {count}, which get {classes} classes"
            + (f" where labels or other cells see {varied}." if varied >= _VARIED else ".")
        )
    if not said:
        return None
    likely = (large and (collapsed or deviation > 3 * _LARGE_LOGITS)) or (
        collapsed and varied >= _VARIED
    )
    kind = "wrong-normalisation"
    return Suspicion(
        kind,
        _TITLES[kind],
        "likely" if likely else "possible",
        tuple(said),
        _REMEDIES[kind],
        numbers,
    )


def _classes_there(cell: Evidence, others: Sequence[tuple[str, Evidence]]) -> int:
    found = 0
    if cell.labels is not None and cell.known.any():
        found = len(np.unique(np.asarray(cell.labels)[cell.known]))
    for _, other in others:
        if other.summary.shared < 0.5:
            found = max(found, len(np.unique(other.summary.label[other.summary.finite])))
    return found


def _joined(a: Suspicion, b: Suspicion) -> Suspicion:
    order = ("certain", "likely", "possible")
    surer = min(a.confidence, b.confidence, key=order.index)
    return Suspicion(
        a.kind, a.title, surer, a.evidence + b.evidence, a.remedy, {**a.numbers, **b.numbers}
    )
