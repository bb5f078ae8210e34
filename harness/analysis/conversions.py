"""What conversions did to a model: each converted cell, its steps, and how far it is from its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analysis import pairing
from harness.analysis.conversion_steps import fault, fault_in_words, steps_of, unchecked
from harness.analysis.paper import paper_findings, paper_pair
from harness.store.cell_routes import AXES, CellRoute, asked_of, route_of

Document = dict[str, Any]

SOURCE, UNQUANTISED, OTHER = "source", "unquantised", "another route"
"""What a converted cell is compared with: an earlier point of its own route, the same route not
quantised, or another route from the same file, where the sweep has no earlier point."""

# Cells that differ in one of these were not fed the same.
_FED = frozenset(
    {"variant", "preprocessing", "corruption", "mistake", "recipe", "class_offset", "output"}
)


@dataclass(frozen=True)
class Compared:
    """What two cells over the same images differ by; None where that has no value."""

    flips: int | None
    images: int
    max_abs_diff: float | None


Compare = Callable[[str, str], Compared | None]
"""Compares two answered cells by their keys; None: they cannot be."""


@dataclass(frozen=True)
class _Candidate:
    document: Document
    route: CellRoute
    asked: Document


@dataclass(frozen=True)
class _Other:
    """A cell beside another, and how unlike the two are: in their common steps, and in axes."""

    cell: _Candidate
    distance: tuple[bool, int]


def find_conversions(
    store: Path,
    cells: Sequence[Document],
    top1: Mapping[str, float | None],
    failures: Sequence[Document],
    compare: Compare,
) -> list[Document]:
    """One object for each cell whose route has a conversion, in the order of the cells.

    Args:
        store: the results folder.
        cells: the sweep's, without controls: cell.json with what the sweep lists of it.
        top1: accuracy of the cells that have answers, by key; None where it is not known.
        failures: why cells have no answers.
        compare: compares two cells that have.

    Returns:
        Objects with `model`, `key`, `environment`, `backend`, `route` and the axes of conversions,
        `status`, `kind` and `message` of a failure, `steps` (see `steps_of`), `fault` (the place of
        the step to blame) and `at_fault` (the same in words), `unchecked` (the places of steps that
        were made and not compared with their source), `against` (key of the cell that it is
        compared with) and `relation` (what that is), `flips`, `images`, `max_abs_diff`, `top1` and
        `top1_source`. `paper` names the DeltaNN pair that the chain is, with `paper_finding`,
        and `paper_against` and `paper_flips` compare it with the cell where that pair begins.
    """
    reasons = {str(one["key"]): one for one in failures}
    known = [_Candidate(cell, route, asked_of(cell)) for cell in cells if (route := route_of(cell))]
    answered = [one for one in known if one.document["key"] in top1]
    found = []
    for cell in known:
        if ">" not in str(cell.document["route"]):
            continue
        failure = reasons.get(cell.document["key"]) if cell.document["key"] not in top1 else None
        found.append(_conversion(store, cell, failure, answered, top1, compare))
    return found


def _conversion(
    store: Path,
    cell: _Candidate,
    failure: Document | None,
    answered: Sequence[_Candidate],
    top1: Mapping[str, float | None],
    compare: Compare,
) -> Document:
    document = cell.document
    steps = steps_of(store, document, failure)
    others = _alike(cell, answered)
    against, relation, measured = _first(_sources(cell, others), cell, top1, compare)
    pair = paper_pair(cell.route.nodes)
    start, _, begun = (None, None, None)
    if pair is not None:
        beginnings = _beginnings(cell, others, pair[2])
        start, _, begun = _first(beginnings, cell, top1, compare)
    return {
        **{name: document.get(name) for name in ("model", "key", "environment", "backend")},
        "route": document.get("route"),
        **{name: document.get(name) for name in AXES},
        "status": document.get("status"),
        "kind": failure and failure.get("kind"),
        "message": failure and failure.get("message"),
        "steps": steps,
        "fault": fault(steps),
        "at_fault": fault_in_words(steps),
        "unchecked": unchecked(steps),
        "against": against,
        "relation": relation,
        "flips": measured.flips if measured else None,
        "images": measured.images if measured else None,
        "max_abs_diff": measured.max_abs_diff if measured else None,
        "top1": top1.get(str(document["key"])),
        "top1_source": None if against is None else top1.get(against),
        "paper": f"{pair[0]} to {pair[1]}" if pair else None,
        "paper_finding": " ".join(paper_findings(pair[0], pair[1])) if pair else None,
        "paper_against": start,
        "paper_flips": begun.flips if begun else None,
    }


def _first(
    candidates: Sequence[tuple[_Candidate, str]],
    cell: _Candidate,
    top1: Mapping[str, float | None],
    compare: Compare,
) -> tuple[str | None, str | None, Compared | None]:
    """The first cell that can be compared; a cell without answers has its source all the same."""
    key = str(cell.document["key"])
    for candidate, relation in candidates:
        other = str(candidate.document["key"])
        if key not in top1:
            return other, relation, None
        if (measured := compare(other, key)) is not None:
            return other, relation, measured
    return None, None, None


def _sources(cell: _Candidate, others: Sequence[_Other]) -> list[tuple[_Candidate, str]]:
    """The cells that a converted one may be compared with, the best first."""
    ranked = []
    for place, other in enumerate(others):
        rank = _rank(cell, other.cell)
        if rank is not None:
            relation, order = rank
            ranked.append((order, other.distance, place, other.cell, relation))
    return [(other, relation) for *_, other, relation in sorted(ranked, key=lambda one: one[:3])]


def _rank(cell: _Candidate, other: _Candidate) -> tuple[str, tuple[int, int, int]] | None:
    """What another cell is to one, and its order; None: it says nothing of the conversions."""
    own, its = cell.route.nodes, other.route.nodes
    quantised = "quantisation" in cell.asked
    if "quantisation" in other.asked:
        return None
    if own == its and quantised:
        unlike = sum(
            cell.asked.get(axis) != other.asked.get(axis) for axis in AXES if axis != "quantisation"
        )
        return UNQUANTISED, (0, unlike, 0)
    if len(its) < len(own) and own[: len(its)] == its:
        return SOURCE, (1, -len(its), len(other.asked))
    extends = len(its) > len(own) and its[: len(own)] == own
    if (own != its and not extends) or (own == its and len(other.asked) < len(cell.asked)):
        return OTHER, (2, len(its), len(other.asked))
    return None


def _beginnings(
    cell: _Candidate, others: Sequence[_Other], place: int
) -> list[tuple[_Candidate, str]]:
    """The cells that run a route up to its first framework's format, the best first."""
    nodes = cell.route.nodes[: place + 1]
    fitting = [
        one
        for one in others
        if one.cell.route.nodes == nodes and "quantisation" not in one.cell.asked
    ]
    return [(one.cell, SOURCE) for one in sorted(fitting, key=lambda one: one.distance)]


def _alike(cell: _Candidate, answered: Sequence[_Candidate]) -> list[_Other]:
    """Cells of the same model that were fed the same, in the sweep's order."""
    found = []
    for other in answered:
        same = other.document["key"] == cell.document["key"]
        if same or other.document.get("model") != cell.document.get("model"):
            continue
        unlike = pairing.axes(other.document, cell.document)
        if not _FED.intersection(unlike):
            found.append(_Other(other, (_made_apart(cell, other), len(unlike))))
    return found


def _made_apart(cell: _Candidate, other: _Candidate) -> bool:
    """Whether the steps that two routes begin with are not the same conversions."""
    ours, theirs = (
        [step.get("key") for step in one.document.get("steps") or []] for one in (cell, other)
    )
    common = min(len(ours), len(theirs))
    return ours[:common] != theirs[:common]
