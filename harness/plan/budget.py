"""A sweep cut to a budget of time: how many images, how long it is timed, what is left out. Pure.

What a cell costs is known from a probe, or guessed from the cells most like it. Everything that is
asked for is first scaled down together, images and timing by the same share; where even the least of
both does not fit, the slowest cells are left out, and the rest shares what that gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.canonical import key_of
from harness.plan.cells import Cell
from harness.plan.groups import OFFLINE, Group
from harness.spec.timing import Timing

LEAST_IMAGES = 50
"""Fewer say little of flips: below this, cells are left out instead of images."""

LEAST_ROUNDS = 15
"""Fewer rounds are INVALID, so that timing is made shorter in other ways first."""

GROUP_S = 1.5
"""About what a group takes beside its cells: starting its conductor, idle looks, ending workers."""

WARM_S = 1.5
"""About how long a cell takes until its times are steady, where its calls are short."""

LEAST_QUERIES = 64
"""Timed less often, a cell's 90th percentile is not known, and its times are INVALID."""

_WARM_CALLS = 5
_WAKING = 1.2
"""Turns begin with calls that are not recorded: a fifth as many as those that are."""

_OFFLINE_TRIES = 5
"""About how many batches a search tries, each in a worker of its own."""

_STEPS = 40
"""Halvings of the search for a share: enough for the last image of a million."""

Twin = str


@dataclass(frozen=True)
class Cost:
    """What a cell takes.

    Attributes:
        open_s: from starting its worker until the model is loaded, compiled and has run once.
        image_s: for one input.
        guessed: whether it was not probed itself.
    """

    open_s: float
    image_s: float
    guessed: bool = False


@dataclass(frozen=True)
class Asked:
    """How much a sweep does of everything.

    Attributes:
        images: that each cell answers.
        timing: how cells are timed.
    """

    images: int
    timing: Timing

    def scaled(self, share: float) -> Asked:
        """The same with this share of it, and no less than says something."""
        images = max(min(LEAST_IMAGES, self.images), math.floor(self.images * share))
        return Asked(images, scaled_timing(self.timing, share))


def scaled_timing(timing: Timing, share: float) -> Timing:
    """How cells are timed in this share of the time; never so little that it is INVALID."""
    rounds = max(min(LEAST_ROUNDS, timing.rounds), round(timing.rounds * share))
    least = min(LEAST_QUERIES, timing.min_queries)
    return timing.model_copy(
        update={
            "rounds": rounds,
            "round_seconds": max(0.01, timing.round_seconds * share),
            "min_seconds": timing.min_seconds * share,
            "min_queries": max(least, round(timing.min_queries * share)),
        }
    )


def answering_s(cells: Sequence[Cell], costs: Mapping[Twin, Cost], images: int) -> float:
    """Seconds to open cells and have each answer so many images."""
    total = 0.0
    for cell in cells:
        cost = costs[cell.twin]
        total += cost.open_s + cost.image_s * math.ceil(images / cell.batch) * cell.batch
    return total


def timing_s(cells: Sequence[Cell], costs: Mapping[Twin, Cost], timing: Timing) -> float:
    """Seconds to warm cells up that are open, and to time them against each other."""
    total = 0.0
    for cell in cells:
        cost = costs[cell.twin]
        call_s = cost.image_s * cell.batch
        warm_s = min(max(WARM_S, _WARM_CALLS * call_s), max(timing.warmup_seconds, call_s))
        calls = math.ceil(timing.min_queries / timing.rounds)
        round_s = max(
            timing.round_seconds, timing.min_seconds / timing.rounds, calls * call_s, call_s
        )
        anew_s = timing.rounds * (cost.open_s + warm_s) if timing.fresh_processes else 0.0
        total += warm_s + timing.rounds * max(round_s * _WAKING, round_s + call_s) + anew_s
    return total


def taken_s(
    cells: Sequence[Cell],
    answered: Collection[str],
    costs: Mapping[Twin, Cost],
    images: int,
    timing: Timing | None,
    *,
    offline: bool = False,
) -> float:
    """Seconds that a group takes.

    Args:
        cells: its members.
        answered: keys of those whose answers are there already: they are opened to be timed.
        costs: of all of them.
        images: that the others answer.
        timing: how they are timed; None: not at all.
        offline: whether each looks for its best batch first.
    """
    if not cells:
        return 0.0
    new = [cell for cell in cells if cell.key not in answered]
    old = [cell for cell in cells if cell.key in answered]
    taken = GROUP_S + answering_s(new, costs, images) + answering_s(old, costs, 0)
    if timing is not None:
        taken += timing_s(cells, costs, timing)
        taken += sum(_OFFLINE_TRIES * costs[c.twin].open_s for c in cells) if offline else 0.0
    return taken


def _all_s(groups: Sequence[Group], costs: Mapping[Twin, Cost], asked: Asked) -> float:
    """Seconds that groups take from nothing; a cell that is in several answers in the first."""
    total, answered = 0.0, set[str]()
    for one in groups:
        timing = asked.timing if one.reference is not None else None
        offline = one.scenario == OFFLINE
        total += taken_s(one.cells, answered, costs, asked.images, timing, offline=offline)
        answered |= {cell.key for cell in one.cells}
    return total


@dataclass(frozen=True)
class Choice:
    """What fits into a budget.

    Attributes:
        share: of what was asked for, between 0 (the least of everything) and 1 (all).
        asked: how many images, and how long cells are timed.
        left_out: why cells take no part, by their twins.
        seconds: what it will take, as far as is known.
    """

    share: float
    asked: Asked
    left_out: Mapping[Twin, str]
    seconds: float


def choose(
    cells: Sequence[Cell],
    group: Callable[[Sequence[Cell]], Sequence[Group]],
    costs: Mapping[Twin, Cost],
    asked: Asked,
    seconds: float,
    kept: Collection[Twin] = (),
) -> Choice:
    """Cut a sweep until it fits.

    Args:
        cells: what was asked for, those that cannot be run left out.
        group: groups cells as they will be run.
        costs: of all of them.
        asked: as the sweep says it.
        seconds: what there is.
        kept: cells that are never left out: those that others are compared with.
    """
    left_out: dict[Twin, str] = {}
    present = list(cells)

    def needed(share: float) -> float:
        return _all_s(group(present), costs, asked.scaled(share))

    while present and needed(0.0) > seconds:
        dropped = _slowest(present, costs, asked.scaled(0.0), kept)
        if dropped is None:
            break
        present.remove(dropped)
        takes = _alone_s(dropped, costs, asked.scaled(0.0))
        least = asked.scaled(0.0).images
        guess = "as cells like it do, " if costs[dropped.twin].guessed else ""
        left_out[dropped.twin] = (
            f"{guess}it would take {in_words(takes)} for {least} images and its times"
        )
    share = largest_share(needed, seconds)
    return Choice(share, asked.scaled(share), left_out, needed(share))


def largest_share(needed: Callable[[float], float], seconds: float) -> float:
    """The largest share of everything that fits into so many seconds; 0 where none does."""
    if needed(1.0) <= seconds:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) <= seconds else (low, middle)
    return low


def _slowest(
    cells: Sequence[Cell], costs: Mapping[Twin, Cost], asked: Asked, kept: Collection[Twin]
) -> Cell | None:
    """The cell that costs most, of those that may go."""
    free = [cell for cell in cells if cell.twin not in kept]
    return max(free, key=lambda cell: _alone_s(cell, costs, asked), default=None)


def _alone_s(cell: Cell, costs: Mapping[Twin, Cost], asked: Asked) -> float:
    timed = timing_s([cell], costs, asked.timing) if asked.timing.enabled else 0.0
    return answering_s([cell], costs, asked.images) + timed


def guess_costs(cells: Sequence[Cell], known: Mapping[Twin, Cost]) -> dict[Twin, Cost]:
    """What every cell costs: as probed, or else as the slowest of those most like it.

    Raises:
        ValueError: nothing is known at all.
    """
    if not known:
        msg = "no cell's cost is known"
        raise ValueError(msg)
    probed = [cell for cell in cells if cell.twin in known]
    found = dict(known)
    for cell in cells:
        if cell.twin in known:
            continue
        likeness = {other.key: _likeness(cell, other) for other in probed}
        most = max(likeness.values(), default=0)
        alike = [known[o.twin] for o in probed if likeness[o.key] == most] or [*known.values()]
        found[cell.twin] = Cost(
            max(cost.open_s for cost in alike), max(cost.image_s for cost in alike), guessed=True
        )
    return found


def _likeness(cell: Cell, other: Cell) -> int:
    """In how much of what decides about time two cells agree; the weightiest counts most."""
    pairs: list[tuple[Any, Any]] = [
        (cell.threads, other.threads),
        (cell.precision, other.precision),
        (dict(cell.settings), dict(other.settings)),
        (cell.environment, other.environment),
        (cell.level, other.level),
        (cell.backend, other.backend),
        (cell.model_sha256, other.model_sha256),
    ]
    return sum(1 << place for place, (a, b) in enumerate(pairs) if a == b)


def kinds_first(cells: Sequence[Cell]) -> list[Cell]:
    """Cells in an order in which each kind comes once before any comes twice.

    A probe that has no time for all of them has then seen the most different ones.
    """
    seen: dict[tuple[str, ...], int] = {}
    rank: dict[str, int] = {}
    for cell in cells:
        settings = key_of(dict(cell.settings))
        kind = (cell.model, cell.environment, cell.backend, cell.level, settings)
        rank[cell.key] = seen[kind] = seen.get(kind, -1) + 1
    return sorted(cells, key=lambda cell: rank[cell.key])


def in_words(seconds: float) -> str:
    """A length of time for a person: 40 s, 2.5 min, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{round(seconds / 60, 1):g} min"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
