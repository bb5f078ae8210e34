"""The smallest part of something that still shows a fault: pure, whatever a trial costs.

`minimal_set` is delta debugging, ddmin of Zeller and Hildebrandt (Simplifying and Isolating
Failure-Inducing Input, IEEE TSE 28(2), 2002), for sets without an order; `shortest_run` is the same
idea for consecutive places, of which the ends can be moved alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise


class Verdict(StrEnum):
    """What a trial says of the fault."""

    SHOWS = "shows"
    ABSENT = "absent"
    UNRESOLVED = "unresolved"
    """The trial crashed, or could not be judged: it is no proof of either."""


Test = Callable[[frozenset[str]], Verdict]


@dataclass(frozen=True)
class Minimum:
    """What was found.

    Attributes:
        found: names, in the order given. None of them can be left out alone.
        trials: how many different sets were tried.
        unresolved: sets, smaller than what was found, that could not be judged: one of them may
            show the fault.
    """

    found: tuple[str, ...]
    trials: int
    unresolved: tuple[frozenset[str], ...] = ()


@dataclass
class _Tried:
    """Tries every set once."""

    test: Test
    verdicts: dict[frozenset[str], Verdict] = field(default_factory=dict)

    def shows(self, names: Sequence[str]) -> bool:
        asked = frozenset(names)
        if asked not in self.verdicts:
            self.verdicts[asked] = self.test(asked)
        return self.verdicts[asked] is Verdict.SHOWS


def minimal_set(names: Sequence[str], test: Test) -> Minimum:
    """A smallest set that shows the fault, in the sense that no name of it can be left out alone.

    Args:
        names: all of them together show the fault, and none of them does not; both are taken for
            granted here.
        test: whether a set shows it. Asked once for each set.

    Raises:
        ValueError: there are no names, or one is given twice.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"names must be some, each once: {names}")
    tried = _Tried(test, {frozenset(names): Verdict.SHOWS, frozenset(): Verdict.ABSENT})
    given = len(tried.verdicts)
    left, parts = list(names), 2
    while len(left) > 1:
        chunks = _split(left, parts)
        complements = [[n for n in left if n not in chunk] for chunk in chunks]
        smaller = next((chunk for chunk in chunks if tried.shows(chunk)), None)
        if smaller is not None:
            left, parts = smaller, 2
            continue
        # Of two chunks the complements are the chunks.
        rest = next((c for c in complements if tried.shows(c)), None) if parts > 2 else None
        if rest is not None:
            left, parts = rest, max(parts - 1, 2)
        elif parts < len(left):
            parts = min(2 * parts, len(left))
        else:
            break
    found = frozenset(left)
    unresolved = [s for s, v in tried.verdicts.items() if v is Verdict.UNRESOLVED and s < found]
    return Minimum(tuple(left), len(tried.verdicts) - given, tuple(unresolved))


def _split(names: Sequence[str], parts: int) -> list[list[str]]:
    """Consecutive chunks whose lengths differ by one at most."""
    edges = [round(i * len(names) / parts) for i in range(parts + 1)]
    return [list(names[a:b]) for a, b in pairwise(edges) if b > a]


@dataclass(frozen=True)
class Run:
    """Consecutive places, `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many places."""
        return self.last - self.first + 1


def shortest_run(count: int, shows: Callable[[Run], bool]) -> Run:
    """A shortest run of places that shows the fault: neither end can be moved in by one.

    Halves are tried first; where neither shows it, the ends are moved in by ever smaller steps.

    Args:
        count: how many places there are; all of them together show it.
        shows: whether a run shows it. Asked once for each run.

    Raises:
        ValueError: there are no places.
    """
    if count < 1:
        raise ValueError("there are no places to choose from")
    whole = Run(0, count - 1)
    known: dict[Run, bool] = {whole: True}

    def asked(run: Run) -> bool:
        if run not in known:
            known[run] = shows(run)
        return known[run]

    run = whole
    while run.length > 1:
        middle = (run.first + run.last) // 2
        half = next(
            (h for h in (Run(run.first, middle), Run(middle + 1, run.last)) if asked(h)), None
        )
        if half is None:
            break
        run = half
    step = max(run.length // 2, 1)
    while run.length > 1:
        shorter = (Run(run.first + step, run.last), Run(run.first, run.last - step))
        moved = next((r for r in shorter if r.length >= 1 and asked(r)), None)
        if moved is not None:
            run = moved
            step = min(step, max(run.length // 2, 1))
        elif step > 1:
            step //= 2
        else:
            break
    return run
