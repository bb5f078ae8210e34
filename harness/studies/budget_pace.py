"""Who watches the clock of a sweep that has only so long: of its probe, and of the sweep itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.execution.pacing import Order, left_out
from harness.execution.standing import Work
from harness.plan.budget import (
    GROUP_S,
    Cost,
    answering_s,
    in_words,
    kinds_first,
    largest_share,
    scaled_timing,
    timing_s,
    twin_of,
)
from harness.plan.build import Plan
from harness.plan.cells import Cell
from harness.plan.groups import MEMBERS_AT_ONCE
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
        """The most different cells first."""
        self.plan = plan
        return Plan(tuple(kinds_first(plan.cells)), plan.groups, plan.skipped, plan.baseline)

    def before(self, work: Work, waiting: Sequence[Work]) -> Order:  # noqa: ARG002 - one at a time
        """Go on while there is time."""
        if self._begun and self._clock() >= self._until:
            return Order(left_out={cell.key: "the probe's time is over" for cell in work.members})
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
    where it is short. Where even the shortest do not fit, the slowest cells are left out.

    Args:
        clock: seconds, monotonic.
        until: when the last group is to end, on that clock.
        costs: of all cells, by their twins.
        images: that each cell answers.
        timing: how cells are timed where there is time for all of it.
        cut: why cells take no part from the beginning, by their twins.
        document: what `record` tells of the budget, as soon as it is known.
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
        document: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._clock, self._until = clock, until
        self._costs, self._images, self._timing = costs, images, timing
        self._cut, self._document = cut, document
        self._dropped: dict[str, str] = {}
        self._answered: set[str] = set()
        self._foreseen_s = self._actual_s = 0.0
        self._now: tuple[float, float] | None = None
        self.shares: list[float] = []
        """Of the timing that was asked for, what each timed group got."""

    def arranged(self, plan: Plan) -> Plan:
        """Without what was cut from the beginning."""
        reasons = {cell.key: self._cut.get(twin_of(cell), "") for cell in plan.cells}
        return left_out(plan, {key: f"left out, {why}" for key, why in reasons.items() if why})

    def before(self, work: Work, waiting: Sequence[Work]) -> Order:
        """How long its cells are timed, and which of them there is no time for."""
        left = self._until - self._clock()
        works = [work, *waiting]
        while self._needed(works, 0.0) > left and self._drop_slowest(works, left):
            pass
        share = largest_share(lambda part: self._needed(works, part), left)
        if work.timed:
            self.shares.append(share)
        timing = scaled_timing(self._timing, share)
        gone = {c.key: self._dropped[c.key] for c in work.members if c.key in self._dropped}
        self._now = (self._clock(), self._plain_s(work, timing))
        return Order(timing, gone)

    def after(self, work: Work) -> None:
        """Learn how far the costs were off."""
        self._answered |= work.unanswered
        if self._now is not None:
            began, foreseen_s = self._now
            self._actual_s += self._clock() - began
            self._foreseen_s += foreseen_s
            self._now = None

    def record(self) -> Mapping[str, Any]:
        """What was cut, as the sweep's document holds it."""
        return {"budget": dict(self._document())}

    @property
    def dropped(self) -> Mapping[str, str]:
        """Why cells were left out on the way, by their keys."""
        return self._dropped

    @property
    def _factor(self) -> float:
        """How much longer things take than their costs say, of what has run."""
        if not self._foreseen_s:
            return 1.0
        return min(_MOST_FACTOR, max(_LEAST_FACTOR, self._actual_s / self._foreseen_s))

    def _needed(self, works: Sequence[Work], share: float) -> float:
        timing = scaled_timing(self._timing, share)
        return self._factor * sum(self._plain_s(work, timing) for work in works)

    def _plain_s(self, work: Work, timing: Timing) -> float:
        """Seconds that a group takes by the costs of its cells."""
        cells = [cell for cell in work.members if cell.key not in self._dropped]
        if not cells:
            return 0.0
        wanted = work.unanswered - self._answered
        new = [cell for cell in cells if cell.key in wanted]
        old = [cell for cell in cells if cell.key not in wanted]
        taken = GROUP_S + answering_s(new, self._costs, self._images)
        taken += answering_s(old, self._costs, 0)
        return taken + (timing_s(cells, self._costs, timing) if work.timed else 0.0)

    def _drop_slowest(self, works: Sequence[Work], left: float) -> bool:
        """Leave the slowest cell out that nothing is compared with; whether there was one."""
        heads = {key for one in works for key in (one.group.reference, one.group.control)}
        free = {
            cell.key: (cell, one)
            for one in works
            for cell in one.members
            if cell.key not in heads | set(self._dropped)
        }
        if not free:
            return False
        slowest, _ = max(free.values(), key=lambda found: self._alone_s(*found))
        takes = self._factor * self._alone_s(slowest, free[slowest.key][1])
        self._dropped[slowest.key] = (
            f"left out, it would take {in_words(takes)}, and {in_words(max(0.0, left))} are left "
            "for all"
        )
        return True

    def _alone_s(self, cell: Cell, work: Work) -> float:
        images = self._images if cell.key in work.unanswered - self._answered else 0
        taken = answering_s([cell], self._costs, images)
        least = scaled_timing(self._timing, 0.0)
        return taken + (timing_s([cell], self._costs, least) if work.timed else 0.0)
