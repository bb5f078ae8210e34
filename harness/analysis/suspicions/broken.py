"""Outputs that no healthy model gives: NaN, constants, answers that hang, clipped values."""

from __future__ import annotations

import numpy as np

from harness.analysis.suspicions.evidence import TOP, Bools, Evidence
from harness.analysis.suspicions.suspicion import Confidence, Suspicion

STUCK_IMAGES = 100
"""So many images running with the same top 5 are an answer that hangs (DeltaNN's rule)."""

_FEW = 10
_VARIED = 5


def not_finite(cell: Evidence) -> Suspicion | None:
    """NaN or infinity anywhere."""
    seen = cell.summary
    bad = np.flatnonzero(~seen.finite)
    if not len(bad):
        return None
    first = ", ".join(cell.label_of(int(i)) for i in bad[:3])
    return Suspicion(
        "nan-or-infinite",
        "Scores are not numbers",
        "certain",
        (
            f"{len(bad)} of {cell.count} images have scores that are not finite "
            f"({seen.nans} NaN, {seen.infinities} infinite values); the first: {first}.",
        ),
        "Look for an overflow (float16, unscaled inputs), a division by zero, or a conversion "
        "that lost its weights; compare with the model before it was converted.",
        {"images": len(bad), "nan": seen.nans, "infinite": seen.infinities},
    )


def constant(cell: Evidence, others: tuple[Evidence, ...]) -> Suspicion | None:
    """The same answer for everything."""
    seen, count = cell.summary, int(cell.summary.finite.sum())
    if count < 2:
        return None
    if seen.flat[seen.finite].all():
        return _constant("certain", (f"All {cell.width} scores of every image are equal.",), count)
    if seen.equal_rows:
        sure: Confidence = "certain" if count >= _FEW or _varied(cell, others) else "likely"
        return _constant(sure, (f"The scores of all {count} images are the same.",), count)
    return None if cell.kind == "values" else _one_class(cell, others, count)


def _one_class(cell: Evidence, others: tuple[Evidence, ...], count: int) -> Suspicion | None:
    labels = cell.summary.label[cell.summary.finite]
    if len(np.unique(labels)) > 1 or count < 2 * _FEW:
        return None
    varied = _varied(cell, others)
    if not varied and (count < STUCK_IMAGES or cell.width < 100):
        return None
    evidence = [f"All {count} images get the same class ({labels[0] - cell.class_offset})."]
    if varied:
        evidence.append(f"The images hold at least {varied} classes.")
    return _constant("certain" if varied else "possible", tuple(evidence), count)


def _varied(cell: Evidence, others: tuple[Evidence, ...]) -> int:
    """How many classes labels or other cells see, 0 where that is too few to tell anything."""
    found = len(np.unique(np.asarray(cell.labels)[cell.known])) if cell.labels is not None else 0
    for other in others:
        found = max(found, len(np.unique(other.summary.label[other.summary.finite])))
    return found if found >= min(_VARIED, cell.width) else 0


def _constant(confidence: Confidence, evidence: tuple[str, ...], count: int) -> Suspicion:
    return Suspicion(
        "constant",
        "The answer is the same for every image",
        confidence,
        evidence,
        "Check that the input reaches the model (name, layout, dtype), that its values are not "
        "all clipped or scaled to one number, and that the weights were loaded.",
        {"images": count},
    )


def stuck(cell: Evidence, others: tuple[Evidence, ...]) -> Suspicion | None:
    """The same top 5, or the very same scores, for many images running."""
    seen = cell.summary
    if seen.equal_rows or cell.count < 2:
        return None
    repeats = seen.repeats & seen.finite
    for other in others:
        # Equal images (a file twice in the set) give equal rows in every cell.
        repeats = repeats & ~other.summary.repeats
    rows, start = _longest(repeats)
    share = float(repeats.mean())
    said: list[str] = []
    confidence: Confidence = "likely"
    if rows >= _FEW or (share >= 0.2 and cell.count >= _FEW):
        said.append(
            f"{int(repeats.sum())} of {cell.count} images have exactly the scores of the image "
            f"before; the longest run is {rows} images, from {cell.label_of(start)}."
        )
        confidence = "certain" if rows >= STUCK_IMAGES or others else "likely"
    top = 0
    if cell.width > 4 * TOP and cell.kind != "values":
        best = seen.best
        top, start = _longest(np.r_[False, (best[1:] == best[:-1]).all(axis=1)] & seen.finite)
        if top >= STUCK_IMAGES:
            confidence = "certain"
            said.append(
                f"The same top 5 on {top} images running, from {cell.label_of(start)}; "
                f"{STUCK_IMAGES} are taken as hanging."
            )
    if not said:
        return None
    return Suspicion(
        "stuck",
        "Answers hang: many images running get the same",
        confidence,
        tuple(said),
        "Look for an input buffer that is not filled again, or an output read before the "
        "device has finished; run these images alone and compare.",
        {"equal_rows_run": rows, "equal_rows_share": share, "same_top5_run": top},
    )


def _longest(repeats: Bools) -> tuple[int, int]:
    """Length in images of the longest run of rows that repeat the one before, and its start."""
    edges = np.flatnonzero(np.diff(np.r_[False, repeats, False].astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(ends[longest] - starts[longest]) + 1, int(starts[longest]) - 1


def quantised_badly(cell: Evidence) -> Suspicion | None:
    """Scores clipped at one largest value that many classes share.

    Few distinct values alone are no fault (an int8 output has 256); a largest value of the whole
    cell that is the best score of many images, and there of several classes, is a range that was
    chosen too small.
    """
    seen = cell.summary
    count = int(seen.finite.sum())
    share = float(seen.tied.sum() / count) if count else 0.0
    if cell.kind == "values" or cell.width < 3 or count < 20 or share < 0.25 or seen.levels > 4096:
        return None
    return Suspicion(
        "quantised-badly",
        "Scores are clipped: the output's range is too small",
        "likely",
        (
            f"In {share:.0%} of {count} images several classes share the best score, and it is "
            f"the largest value of the whole cell; {seen.levels} distinct values were seen.",
        ),
        "Calibrate again with images like these, or keep the last layer in float.",
        {"tied_share": share, "levels": seen.levels},
    )
