"""What a store already holds of a plan, and so what is left to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.execution import attempts
from harness.execution.attempts import Failure
from harness.execution.bundles import answers_folder, is_whole
from harness.plan.cells import Cell
from harness.plan.groups import Group


@dataclass(frozen=True)
class PastSession:
    """A committed timing: who took part, related to whom, over how many rounds."""

    id: str
    members: frozenset[str]
    reference: str
    control: str | None
    rounds: int


@dataclass(frozen=True)
class Standing:
    """What is there: answers that validate, and failures that are not tried again unasked."""

    done: frozenset[str]
    failed: dict[str, Failure]
    sessions: tuple[PastSession, ...]

    def joined(self, other: Standing) -> Standing:
        """What is known from both looks."""
        return Standing(self.done | other.done, {**self.failed, **other.failed}, self.sessions)


def look(
    store: Path, cells: Iterable[Cell], *, retry: bool, limits: Mapping[str, float]
) -> Standing:
    """Look the cells up in a store; every file of a bundle is hashed.

    Args:
        store: the results folder.
        cells: the plan's cells and controls.
        retry: try failed cells again, whatever they failed of.
        limits: those of now, by name; what failed under a smaller one is tried again.
    """
    done: set[str] = set()
    failed: dict[str, Failure] = {}
    for cell in cells:
        if is_whole(answers_folder(store, cell.key), deep=True):
            done.add(cell.key)
            continue
        failure = None if retry else attempts.last(store, cell.key)
        if failure is not None and failure.lasts(limits):
            failed[cell.key] = failure
    return Standing(frozenset(done), failed, tuple(past_sessions(store)))


def past_sessions(store: Path) -> list[PastSession]:
    """The sessions of a store that validate, oldest first."""
    found: list[PastSession] = []
    folder = store / "sessions"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or not is_whole(path):
            continue
        try:
            document = json.loads((path / "session.json").read_text(encoding="utf-8"))
            found.append(
                PastSession(
                    id=path.name,
                    members=frozenset(str(m["key"]) for m in document["members"]),
                    reference=str(document["reference"]),
                    control=document["control"],
                    rounds=int(document["rounds"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


@dataclass(frozen=True)
class Work:
    """What is left of one group: the members to open, and those whose answers are wanted.

    `unkept` are those of which only what their backends compile is still wanted, or that too.
    """

    group: Group
    members: tuple[Cell, ...]
    unanswered: frozenset[str]
    timed: bool
    unkept: frozenset[str] = frozenset()


def remaining(
    groups: Sequence[Group],
    standing: Standing,
    rounds: int,
    has_ir: Callable[[str], bool] = lambda _: True,
) -> list[Work]:
    """What is left to do of each group; finished groups are left out.

    A cell that was never timed beside its reference is timed together with it again, since a
    ratio of times exists only inside a session.

    Args:
        groups: of the plan.
        standing: what the store holds.
        rounds: of a timing.
        has_ir: whether what a cell's backend compiles is there, or nobody wants it.
    """
    left: list[Work] = []
    for group in groups:
        unanswered = frozenset(c.key for c in group.cells if c.key not in standing.done)
        untimed = _untimed(group, standing.sessions, rounds)
        unkept = frozenset(c.key for c in group.cells if c.role == "cell" and not has_ir(c.key))
        wanted = unanswered | untimed | unkept
        if not wanted:
            continue
        timed = group.reference is not None and bool(unanswered | untimed)
        always = {group.reference, group.control} if timed else set()
        members = tuple(c for c in group.cells if c.key in wanted or c.key in always)
        left.append(Work(group, members, unanswered, timed, unkept))
    return left


def sessions_of(groups: Sequence[Group], sessions: Sequence[PastSession]) -> list[str]:
    """The sessions that hold times of these groups."""
    keys = {cell.key for group in groups for cell in group.cells}
    return [s.id for s in sessions if s.members & keys]


def _untimed(group: Group, sessions: Sequence[PastSession], rounds: int) -> frozenset[str]:
    if group.reference is None:
        return frozenset()
    beside: set[str] = set()
    for session in sessions:
        if session.reference == group.reference and session.rounds >= rounds:
            beside |= session.members
    return frozenset(cell.key for cell in group.cells if cell.key not in beside)
