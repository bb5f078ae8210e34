"""Which cells are run and timed side by side, and in which scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.plan.cells import Cell
from harness.plan.feeds import USUAL, Feed

# Loaded models wait in memory while others are timed; more than this many at once is not kind
# to a workstation. A larger family is split, and every part takes the reference along.
MEMBERS_AT_ONCE = 8
_UNASKED = frozenset({"own", "default"})

SINGLE_STREAM = "single_stream"
"""One call after the other, each with the cell's own batch: how long a call takes."""
OFFLINE = "offline"
"""As many images a second as it can: batch sizes are given or found while it is timed."""


@dataclass(frozen=True)
class Group:
    """Cells that are opened side by side and timed in one session.

    Attributes:
        cells: the members; the reference (and its control) come first.
        reference: key of the cell that times are related to, or None for no timing.
        control: key of its A/A repeat, if there is one.
        scenario: how they are timed; None for no timing. Times of different scenarios are never
            compared, so a group has one.
    """

    cells: tuple[Cell, ...]
    reference: str | None
    control: str | None
    scenario: str | None = None

    @property
    def label(self) -> str:
        """How the group is called in progress."""
        first = self.cells[0]
        count = len(self.cells)
        how = f", {self.scenario}" if self.scenario not in {None, SINGLE_STREAM} else ""
        return f"{first.model}, {count} cell{'s' if count != 1 else ''}{how}"


def families(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that may be timed against each other: same model, inputs, device and batch.

    Pixels that each environment made for itself are the same inputs: of the same images, in the
    same shape, by the same recipe.
    """
    found: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        found.setdefault((*_alike(cell), cell.batch), []).append(cell)
    return list(found.values())


def _alike(cell: Cell) -> tuple[object, ...]:
    """What cells of one family share besides the batch."""
    return (
        cell.model_sha256,
        cell.feed,
        cell.inputs.images_key or cell.inputs.inputs_key,
        cell.inputs.recipe_key,
        cell.device,
        cell.device_name,
    )


def timed_feed(cells: Sequence[Cell]) -> Feed:
    """The way of making the inputs whose cells are timed: the usual one where it is among them.

    What the pixels hold does not change how long a model takes, so the others say nothing more.
    """
    feeds = dict.fromkeys(cell.feed for cell in cells)
    return USUAL if USUAL in feeds or not feeds else next(iter(feeds))


def reference_of(family: Sequence[Cell], baseline: str | None) -> Cell:
    """The cell of a family that the others' times are related to.

    Of the baseline's it is the first that runs as one gets it unasked, where there is one.
    """
    first = next((cell for cell in family if cell.environment == baseline), family[0])
    unasked = (
        cell
        for cell in family
        if cell.environment == first.environment
        and cell.backend == first.backend
        and cell.level in _UNASKED
    )
    return next(unasked, first)


def scenarios_of(
    family: Sequence[Cell], scenarios: Sequence[str], smallest_batch: int
) -> list[str]:
    """The scenarios that a family is timed in, of those that were asked for.

    `single_stream` is of the family's own batch. `offline` looks for the best batch itself, so of
    families that differ in the batch alone, only that of the smallest is timed in it: the others
    would be the same again.
    """
    return [
        scenario
        for scenario in dict.fromkeys(scenarios)
        if scenario != OFFLINE or family[0].batch == smallest_batch
    ]


def make_groups(
    cells: Sequence[Cell],
    *,
    baseline: str | None,
    timed: bool,
    control: bool,
    scenarios: Sequence[str] = (SINGLE_STREAM,),
    at_once: int = MEMBERS_AT_ONCE,
) -> list[Group]:
    """Split the cells into groups; a timed family's every group holds its reference.

    Cells that differ in their level or settings alone are timed in one session where they fit,
    since a ratio of times exists only there.

    A family has groups of its own for each scenario that it is timed in. One that is timed in
    none is grouped all the same, for its answers.

    Args:
        cells: what was asked for, without controls.
        baseline: name of the environment that times are related to (default: the first).
        timed: whether the groups are timed at all.
        control: whether the reference is run twice.
        scenarios: how they are timed.
        at_once: the most members a group may have.
    """
    groups: list[Group] = []
    usual = timed_feed(cells)
    for family in families(cells):
        first = family[0]
        batches = [cell.batch for cell in cells if _alike(cell) == _alike(first)]
        wanted = (
            scenarios_of(family, scenarios, min(batches)) if timed and first.feed == usual else []
        )
        if not wanted:
            groups.extend(
                Group(tuple(family[i : i + at_once]), None, None)
                for i in range(0, len(family), at_once)
            )
        reference = reference_of(family, baseline)
        head = [reference, reference.again(1)] if control else [reference]
        rest = [cell for cell in family if cell.key != reference.key]
        room = max(1, at_once - len(head))
        parts = _parts(rest, room)
        groups.extend(
            Group(
                cells=(*head, *part),
                reference=reference.key,
                control=head[1].key if len(head) > 1 else None,
                scenario=scenario,
            )
            for scenario in wanted
            for part in parts
        )
    return groups


def _parts(cells: Sequence[Cell], room: int) -> list[list[Cell]]:
    """Cells in their order in parts of so many at most, those of one compiler together."""
    parts: list[list[Cell]] = [[]]
    for _, same in groupby(cells, key=_but_for_settings):
        block = list(same)
        if len(block) <= room < len(parts[-1]) + len(block):
            parts.append([])
        for cell in block:
            if len(parts[-1]) == room:
                parts.append([])
            parts[-1].append(cell)
    return [part for part in parts if part] or [[]]


def _but_for_settings(cell: Cell) -> tuple[object, ...]:
    """What cells share that differ in their level or settings alone."""
    return (
        cell.environment_identity,
        cell.executor,
        cell.backend,
        cell.conversion and cell.conversion.way,
        cell.wishes,
        cell.precision,
        cell.threads,
        cell.instruction_set,
    )
