"""How much of a sweep is done, decided while it runs: a seam for sweeps that have only so long."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from harness.execution.standing import Work
from harness.plan.build import Plan
from harness.plan.cells import Cell
from harness.plan.groups import MEMBERS_AT_ONCE, Group
from harness.plan.parts import Skipped
from harness.spec.timing import Timing


@dataclass(frozen=True)
class Order:
    """What is to be done of a group.

    Attributes:
        timing: how its cells are timed; None: as the sweep says.
        left_out: why cells take no part, by their keys.
        aloud: whether those are told to a person.
    """

    timing: Timing | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    aloud: bool = True


class Pace(Protocol):
    """Who decides how much is done."""

    @property
    def at_once(self) -> int:
        """The most members that a group may have."""

    def arranged(self, plan: Plan) -> Plan:
        """The plan as it is to be carried out; what is left out of it is skipped."""

    def in_order(self, works: Sequence[Work]) -> list[Work]:
        """The groups in the order in which they are to run, as far as their environments allow."""

    def before(self, work: Work, waiting: Sequence[Work]) -> Order:
        """What to do of a group that is about to start.

        Args:
            work: what is left of it.
            waiting: the groups after it.
        """

    def after(self, work: Work) -> None:
        """A group has ended."""

    def record(self) -> Mapping[str, Any]:
        """What the sweep's document says of it."""


class Unhurried:
    """All that was asked for, however long it takes."""

    at_once = MEMBERS_AT_ONCE

    def arranged(self, plan: Plan) -> Plan:
        """As planned."""
        return plan

    def in_order(self, works: Sequence[Work]) -> list[Work]:
        """As they come."""
        return list(works)

    def before(self, work: Work, waiting: Sequence[Work]) -> Order:  # noqa: ARG002 - whatever it is
        """All of it."""
        return Order()

    def after(self, work: Work) -> None:
        """Nothing follows from it."""

    def record(self) -> Mapping[str, Any]:
        """Nothing to say."""
        return {}


UNHURRIED = Unhurried()


def left_out(plan: Plan, reasons: Mapping[str, str]) -> Plan:
    """A plan with cells among what was skipped, with the reasons, by their keys."""
    return replace(
        plan,
        cells=tuple(cell for cell in plan.cells if cell.key not in reasons),
        skipped=(
            *plan.skipped,
            *(_skipped(cell, reasons[cell.key]) for cell in plan.cells if cell.key in reasons),
        ),
    )


def without(group: Group, dropped: Collection[str]) -> Group | None:
    """A group without cells, by their keys; None where nobody is left.

    A control is nothing without what it repeats.
    """
    cells = tuple(cell for cell in group.cells if cell.key not in dropped)
    if not cells or all(cell.role == "control" for cell in cells):
        return None
    return replace(group, cells=cells, control=None if group.control in dropped else group.control)


def _skipped(cell: Cell, reason: str) -> Skipped:
    return Skipped(cell.model, cell.environment, cell.backend, f"{cell.label}: {reason}")
