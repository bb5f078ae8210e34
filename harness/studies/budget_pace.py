"""Who watches the clock of a sweep that has only so long: of its probe, and of the sweep itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.execution.pacing import Order, left_out
from harness.execution.standing import Work
from harness.plan.budget import (
    Cost,
    guess_costs,
    in_words,
    kinds_first,
    largest_share,
    scaled_timing,
    taken_s,
)
from harness.plan.build import Plan
from harness.plan.cells import Cell
from harness.plan.groups import MEMBERS_AT_ONCE, OFFLINE, families, reference_of
from harness.spec.timing import Timing

Clock = Callable[[], float]

# What is learned from one group of how wrong the costs are is believed within these bounds.
_LEAST_FACTOR, _MOST_FACTOR = 0.5, 3.0


class ProbePace:
    """Looks at a few inputs of one cell after the other, each kind first, until its time is over.

    Args:
        clock: seconds, monotonic.
        until: when it ends, on that clock; the first cell is looked at in any case.
    """

    at_once = 1

    def __init__(self, clock: Clock, until: float) -> None:
        self._clock, self._until = clock, until
        self._begun = False
        self.plan: Plan | None = None
        """What was asked for, as soon as that is known."""

    def arranged(self, plan: Plan) -> Plan:
        """As planned."""
        self.plan = plan
        return plan

    def in_order(self, works: Sequence[Work]) -> list[Work]:
        """The most different cells first."""
        cells = [cell for work in works for cell in work.members]
        place = {cell.key: number for number, cell in enumerate(kinds_first(cells))}
        return sorted(works, key=lambda work: min(place[cell.key] for cell in work.members))

    def before(self, work: Work, waiting: Sequence[Work]) -> Order:  # noqa: ARG002 - one at a time
        """Go on while there is time."""
        if self._begun and self._clock() >= self._until:
            reasons = {cell.key: "the probe's time is over" for cell in work.members}
            return Order(left_out=reasons, aloud=False)
        self._begun = True
        return Order()

    def after(self, work: Work) -> None:
        """Nothing follows from it."""

    def record(self) -> Mapping[str, Any]:
        """A probe is nothing that a person asked for."""
        return {"study": True}


class Governor:
    """Holds a sweep to its time: before each group, what is left is shared out anew.

    Rounds are made longer where time is left over (to what was asked for, and no more) and shorter
    where it is short. Where even the shortest do not fit, the slowest cells are left out, but none
    that others are compared with.

    Args:
        clock: seconds, monotonic.
        until: when the last group is to end, on that clock.
        costs: of the cells, by their twins; of those that are not there they are guessed.
        images: that each cell answers.
        timing: how cells are timed where there is time for all of it.
        cut: why cells take no part from the beginning, by their twins.
        more: what else the sweep's document says, asked for at its end.

    Attributes:
        shares: of the timing that was asked for, what each timed group got.
        late: keys of cells that were left out on the way, without answers.
        untimed: keys of those that have answers and were left out of their timing.
    """

    at_once = MEMBERS_AT_ONCE

    def __init__(
        self,
        clock: Clock,
        until: float,
        *,
        costs: Mapping[str, Cost],
        images: int,
        timing: Timing,
        cut: Mapping[str, str],
        more: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._clock, self._until = clock, until
        self._costs, self._images, self._timing = dict(costs), images, timing
        self._cut, self._more = cut, more
        self._answered: set[str] = set()
        self._heads: frozenset[str] = frozenset()
        self._foreseen_s = self._actual_s = 0.0
        self._begun: tuple[float, float, float] | None = None
        self.shares: list[float] = []
        self.late: set[str] = set()
        self.untimed: set[str] = set()

    def arranged(self, plan: Plan) -> Plan:
        """Without what was cut from the beginning."""
        reasons = {cell.key: self._cut.get(cell.twin, "") for cell in plan.cells}
        kept = left_out(plan, {key: f"left out, {why}" for key, why in reasons.items() if why})
        twins = {cell.twin for cell in kept.cells}
        if not twins <= set(self._costs):
            known = {twin: cost for twin, cost in self._costs.items() if twin in twins}
            self._costs |= (
                guess_costs(kept.cells, known)
                if known
                else dict.fromkeys(twins, Cost(0.0, 0.0, guessed=True))
            )
        self._heads = frozenset(
            reference_of(family, kept.baseline).key for family in families(kept.cells)
        )
        return kept

    def in_order(self, works: Sequence[Work]) -> list[Work]:
        """As they come."""
        return list(works)

    def before(self, work: Work, waiting: Sequence[Work]) -> Order:
        """How long its cells are timed, and which of them there is no time for."""
        left = self._until - self._clock()
        works = [work, *waiting]
        gone: dict[str, str] = {}
        while self._needed(works, 0.0, gone) > left and self._drop_slowest(works, left, gone):
            pass
        share = largest_share(lambda part: self._needed(works, part, gone), left)
        timing = scaled_timing(self._timing, share)
        # Of later groups nothing is settled: by then more is known of how long things take.
        here = {cell.key: gone[cell.key] for cell in work.members if cell.key in gone}
        unanswered = work.unanswered - self._answered
        self.late |= set(here) & unanswered
        self.untimed |= set(here) - unanswered
        self._begun = (self._clock(), self._plain_s(work, timing, here, set()), share)
        return Order(timing, here)

    def after(self, work: Work) -> None:
        """Learn how far the costs were off."""
        self._answered |= work.unanswered - self.late
        self.late -= self._answered
        if self._begun is not None:
            began, foreseen_s, share = self._begun
            self._actual_s += self._clock() - began
            self._foreseen_s += foreseen_s
            if work.timed:
                self.shares.append(share)
            self._begun = None

    def record(self) -> Mapping[str, Any]:
        """What the sweep's document says beside what all of them say."""
        return self._more()

    @property
    def _factor(self) -> float:
        """How much longer things take than their costs say, of what has run."""
        if not self._foreseen_s:
            return 1.0
        return min(_MOST_FACTOR, max(_LEAST_FACTOR, self._actual_s / self._foreseen_s))

    def _needed(self, works: Sequence[Work], share: float, gone: Collection[str]) -> float:
        timing = scaled_timing(self._timing, share)
        seen: set[str] = set()
        return self._factor * sum(self._plain_s(work, timing, gone, seen) for work in works)

    def _plain_s(self, work: Work, timing: Timing, gone: Collection[str], seen: set[str]) -> float:
        """Seconds that a group takes by the costs of its cells; notes in `seen` who answers in it."""
        cells = [cell for cell in work.members if cell.key not in gone]
        wanted = work.unanswered - self._answered - seen
        seen |= work.unanswered
        return taken_s(
            cells,
            {cell.key for cell in cells} - wanted,
            self._costs,
            self._images,
            timing if work.timed else None,
            offline=work.group.scenario == OFFLINE,
        )

    def _drop_slowest(self, works: Sequence[Work], left: float, gone: dict[str, str]) -> bool:
        """Leave the slowest cell out that nothing is compared with; whether there was one."""
        heads = self._heads | {
            key for one in works for key in (one.group.reference, one.group.control) if key
        }
        free: dict[str, tuple[Cell, Work]] = {}
        for one in works:
            for cell in one.members:
                if cell.key not in heads and cell.key not in gone:
                    free.setdefault(cell.key, (cell, one))
        if not free:
            return False
        least = scaled_timing(self._timing, 0.0)
        costs = {
            key: self._plain_s(replace(one, members=(cell,)), least, (), set())
            for key, (cell, one) in free.items()
        }
        slowest = max(costs, key=lambda key: costs[key])
        gone[slowest] = (
            f"left out, it would take {in_words(self._factor * costs[slowest])}, and "
            f"{in_words(max(0.0, left))} are left for all"
        )
        return True
