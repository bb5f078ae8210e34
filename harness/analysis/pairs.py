"""A pair of cells as a JSON object: the same in `sweep --json` and in `compare --json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.analysis import agreement, inert, pairing
from harness.analysis.pair_agreement import Flip, PairAgreement
from harness.analysis.significance import wilson
from harness.analysis.values import same_values
from harness.store.compiled import compiled_of
from harness.store.load import CellAnswers

Document = dict[str, Any]


def measure(a: CellAnswers, b: CellAnswers) -> PairAgreement:
    """All measures between two cells' answers, with names and ground truth of a's images."""
    return agreement.compare(a, b, a.labels, a.names)


def describe_pair(
    a: CellAnswers,
    b: CellAnswers,
    flips: int | None,
    found: PairAgreement | None,
    listed: int | None = None,
) -> Document:
    """A pair's JSON object, without its times: see `pair_times.add_times`.

    `compiled` says whether both were compiled to the same program (`same`, `other`, `unknown`;
    None for two models or backends), `inert` that what they differ in changes nothing.

    Args:
        a: the reference.
        b: the other.
        flips: images whose label changed; None without class scores.
        found: all measures, or None where only labels were compared.
        listed: at most so many flips are listed image by image; None: all. `flipped_whole` says
            whether all are.
    """
    low, high = wilson(flips, a.count) if flips is not None else (None, None)
    axes = pairing.axes(a.cell, b.cell)
    form = compiled_form(a, b)
    shown = found.flipped[:listed] if found else ()
    return {
        "a": a.key,
        "b": b.key,
        "axes": axes,
        "compiled": form,
        "inert": inert.is_inert(
            form, axes, lambda: found.identical if found else same_answers(a, b)
        ),
        "flips": flips,
        "images": a.count,
        "flip_share": flips / a.count if flips is not None else None,
        "flip_low": low,
        "flip_high": high,
        "identical": found.identical if found else None,
        "max_abs_diff": found.max_abs_diff if found else None,
        "agreement": found.measures() if found else None,
        "flipped": [_named(flip, a, b) for flip in shown] if found else None,
        "flipped_whole": found is not None and len(shown) == len(found.flipped),
    }


def compiled_form(a: CellAnswers, b: CellAnswers) -> inert.Form | None:
    """Whether two cells were compiled to the same program; see `inert.form_of`."""
    axes = pairing.axes(a.cell, b.cell)
    if "model" in axes or "backend" in axes:
        return None
    return inert.form_of(compiled_of(a.answers), compiled_of(b.answers))


def same_answers(a: CellAnswers, b: CellAnswers) -> bool:
    """Whether all outputs of two cells are equal bit for bit (NaN equal to NaN)."""
    return (
        a.kind == b.kind
        and len(a.outputs) == len(b.outputs)
        and all(same_values(x, y) for x, y in zip(a.outputs, b.outputs, strict=True))
    )


def _named(flip: Flip, a: CellAnswers, b: CellAnswers) -> Document:
    """A flip with the names of its classes, where the class list is known."""
    document = asdict(flip)
    classes = a.images.classes or b.images.classes or {}
    names = {f"{field}_name": classes.get(document[field]) for field in ("label", "a", "b")}
    return {**document, **names}
