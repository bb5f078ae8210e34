"""What conversions did to a model: each converted cell, its steps, and how far it is from its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.analysis import pairing
from harness.analysis.conversion_steps import fault, fault_in_words, steps_of, unchecked
from harness.analysis.paper import paper_findings, paper_pair, runs_itself
from harness.store.cell_routes import AXES, CellRoute, asked_of, route_of

Document = dict[str, Any]

SOURCE, UNQUANTISED, OTHER = "source", "unquantised", "another route"
"""What a converted cell is compared with: an earlier point of its own route, or the same route with
less asked of it; the same route not quantised; or another route from the same file, where the sweep
has neither."""

# Cells that differ in one of these were not fed the same.
_FED = frozenset(
    {"variant", "preprocessing", "corruption", "mistake", "recipe", "class_offset", "output"}
)

# Cells that differ in one of these were not run alike, whatever was converted.
_RUN = frozenset({"settings", "precision", "instruction_set", "device", "threads", "batch"})


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
    """A cell beside another.

    Attributes:
        cell: the other.
        rank: what it is to the one, and how near in the order of routes; None: nothing.
        apart: whether the steps that the two routes begin with are not the same conversions.
        unlike: the axes in which the two differ.
        run: how many of these are about how a model is run.
    """

    cell: _Candidate
    rank: tuple[str, tuple[int, ...]] | None
    apart: bool
    unlike: tuple[str, ...]
    run: int

    @property
    def distance(self) -> tuple[bool, int]:
        """How unlike the two are: in their common steps, and in axes."""
        return self.apart, len(self.unlike)


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
        compared with), `relation` (what that is) and `axes` (in what else than conversions the two
        differ), `flips`, `images`, `max_abs_diff`, `top1` and `top1_source`. `paper` names the
        DeltaNN pair that the chain is, with `paper_finding`; `paper_against`, `paper_flips` and
        `paper_images` compare it with a cell where that pair begins, run alike; and
        `paper_foreign` lists each `framework` of the two that another's `backend` ran.
    """
    reasons = {str(one["key"]): one for one in failures}
    known = [_Candidate(cell, route, asked_of(cell)) for cell in cells if (route := route_of(cell))]
    answered = [one for one in known if one.document["key"] in top1]
    compare = cache(compare)
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
    pair = paper_pair(cell.route.nodes)
    others = _alike(cell, answered, None if pair is None else pair[2])
    source, measured = _first(_sources(others), cell, top1, compare)
    begin, begun = None, None
    if pair is not None:
        begin, begun = _first(_beginnings(cell, others, pair), cell, top1, compare)
    blamed = fault(steps, _moved_from(source, measured))
    against = _key(source.cell) if source else None
    return {
        **{name: document.get(name) for name in ("model", "key", "environment", "backend")},
        "route": document.get("route"),
        **{name: document.get(name) for name in AXES},
        "status": document.get("status"),
        "kind": failure and failure.get("kind"),
        "message": failure and failure.get("message"),
        "steps": steps,
        "fault": blamed,
        "at_fault": fault_in_words(steps, blamed),
        "unchecked": unchecked(steps),
        "against": against,
        "relation": source.rank[0] if source and source.rank else None,
        "axes": _further(cell, source) if source else [],
        "flips": measured.flips if measured else None,
        "images": measured.images if measured else None,
        "max_abs_diff": measured.max_abs_diff if measured else None,
        "top1": top1.get(str(document["key"])),
        "top1_source": None if against is None else top1.get(against),
        "paper": f"{pair[0]} to {pair[1]}" if pair else None,
        "paper_finding": " ".join(paper_findings(pair[0], pair[1])) if pair else None,
        "paper_against": _key(begin.cell) if begin else None,
        "paper_flips": begun.flips if begun else None,
        "paper_images": begun.images if begun else None,
        "paper_foreign": _foreign(cell, begin, pair) if pair else [],
    }


def _key(cell: _Candidate) -> str:
    return str(cell.document["key"])


def _moved_from(source: _Other | None, measured: Compared | None) -> int | None:
    """The place of the first step after a cell's source, where labels flipped since then."""
    if source is None or measured is None or not measured.flips or source.apart:
        return None
    if source.rank is None or source.rank[0] == OTHER:
        return None
    return str(source.cell.document["route"]).count(">")


def _further(cell: _Candidate, source: _Other) -> list[str]:
    """The axes beside the conversions in which a cell and its source differ."""
    return [
        axis
        for axis in source.unlike
        # Less asked for is what makes it a source.
        if axis != "route" and not (axis in cell.asked and axis not in source.cell.asked)
    ]


def _foreign(
    cell: _Candidate, begin: _Other | None, pair: tuple[str, str, int]
) -> list[dict[str, str]]:
    """The frameworks of a pair that were not run by themselves, and what ran them."""
    ran = [(pair[1], cell)] if begin is None else [(pair[0], begin.cell), (pair[1], cell)]
    return [
        {"framework": framework, "backend": str(one.document.get("backend"))}
        for framework, one in ran
        if not runs_itself(framework, one.document.get("backend"))
    ]


def _first(
    others: Sequence[_Other],
    cell: _Candidate,
    top1: Mapping[str, float | None],
    compare: Compare,
) -> tuple[_Other | None, Compared | None]:
    """The first cell that can be compared; a cell without answers has its source all the same."""
    for other in others:
        if _key(cell) not in top1:
            return other, None
        if (measured := compare(_key(other.cell), _key(cell))) is not None:
            return other, measured
    return None, None


def _sources(others: Sequence[_Other]) -> list[_Other]:
    """The cells that a converted one may be compared with, the best first.

    Those of its own route come before others, and of either those that were run alike.
    """
    ranked = [
        ((one.rank[0] == OTHER, one.run, one.rank[1], one.distance), one)
        for one in others
        if one.rank is not None
    ]
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]


def _rank(cell: _Candidate, other: _Candidate) -> tuple[str, tuple[int, ...]] | None:
    """What another cell is to one, and its order; None: it says nothing of the conversions."""
    if "quantisation" in other.asked:
        return None
    own, its = cell.route.nodes, other.route.nodes
    unlike = sum(
        cell.asked.get(axis) != other.asked.get(axis) for axis in AXES if axis != "quantisation"
    )
    if own[: len(its)] == its:
        less = other.asked.items() < cell.asked.items()
        near = (-len(its), own == its and not less, unlike)
        if own != its or (less and "quantisation" not in cell.asked):
            return SOURCE, near
        if "quantisation" in cell.asked:
            return UNQUANTISED, near
    goes_on = its[: len(own)] == own
    # On the same route, one that was asked for fewer other things.
    fewer = own == its and len(other.asked) < len(cell.asked)
    return (OTHER, (len(its), unlike)) if fewer or not goes_on else None


def _beginnings(
    cell: _Candidate, others: Sequence[_Other], pair: tuple[str, str, int]
) -> list[_Other]:
    """The cells that run a route up to its first framework's format, the best first.

    The framework's own backends come first; what was not run alike is none.
    """
    fitting = [one for one in others if _begins(cell, one.cell, pair[2]) and not one.run]
    return sorted(
        fitting,
        key=lambda one: (
            not runs_itself(pair[0], one.cell.document.get("backend")),
            one.distance,
        ),
    )


def _begins(cell: _Candidate, other: _Candidate, place: int) -> bool:
    same = other.route.nodes == cell.route.nodes[: place + 1]
    return same and "quantisation" not in other.asked


def _alike(cell: _Candidate, answered: Sequence[_Candidate], place: int | None) -> list[_Other]:
    """Cells of the same model that were fed the same, in the sweep's order.

    Those that are nothing to the cell, and do not run it up to `place`, are left out.
    """
    found = []
    for other in answered:
        if _key(other) == _key(cell) or other.document.get("model") != cell.document.get("model"):
            continue
        rank = _rank(cell, other)
        if rank is None and (place is None or not _begins(cell, other, place)):
            continue
        unlike = pairing.axes(other.document, cell.document)
        if not _FED.intersection(unlike):
            # Each backend has settings of its own.
            run = _RUN.intersection(unlike) - ({"settings"} if "backend" in unlike else set())
            found.append(_Other(other, rank, _made_apart(cell, other), tuple(unlike), len(run)))
    return found


def _made_apart(cell: _Candidate, other: _Candidate) -> bool:
    """Whether the steps that two routes begin with are not the same conversions."""
    ours, theirs = (
        [step.get("key") for step in one.document.get("steps") or []] for one in (cell, other)
    )
    common = min(len(ours), len(theirs))
    return ours[:common] != theirs[:common]
