"""What a store already holds of a plan, and so what is left to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.execution import attempts
from harness.execution.attempts import Failure
from harness.execution.bundles import answers_folder, is_whole
from harness.plan.cells import Cell
from harness.plan.groups import OFFLINE, SINGLE_STREAM, Group

OF_THE_MOMENT = frozenset(
    {
        *(
            "drift",
            "shared-drift",
            "not-steady",
            "throttled",
            "clocks-changed",
            "stolen",
            "busy-machine",
        ),
        *("control-off", "spinning"),
    }
)
"""Reasons against times that another try may be free of; too few rounds stay too few."""

MOST_TRIES = 2
"""A cell is timed again once by itself; where that is INVALID too, the machine is like that."""


@dataclass(frozen=True)
class PastSession:
    """A committed timing: who took part, related to whom, over how many rounds.

    Attributes:
        id: the session's name.
        members: keys of those that were timed.
        reference: key of the cell that times are related to.
        control: key of its A/A repeat, if there was one.
        rounds: how many there were.
        scenario: how they were timed.
        batches: of offline, the batches that were to be tried; None: found by doubling.
        fresh: whether each round was timed in processes of its own.
        against: the kinds of reasons against the times of each member, the session's own among
            them; nothing is known of sessions that were not judged.
    """

    id: str
    members: frozenset[str]
    reference: str
    control: str | None
    rounds: int
    scenario: str = SINGLE_STREAM
    batches: tuple[int, ...] | None = None
    fresh: bool = False
    against: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def against_pair(self, key: str) -> frozenset[str]:
        """The kinds of reasons against relating a member's times to the reference's."""
        nothing: frozenset[str] = frozenset()
        return self.against.get(key, nothing) | self.against.get(self.reference, nothing)


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
                    scenario=str(document.get("scenario") or SINGLE_STREAM),
                    batches=_batches(document.get("offline_batches")),
                    fresh=bool(document.get("fresh_processes")),
                    against=_against(document.get("validity")),
                )
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _batches(found: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if found is None else tuple(int(batch) for batch in found)


def _against(validity: Mapping[str, Any] | None) -> dict[str, frozenset[str]]:
    if validity is None:
        return {}
    own = {str(reason["kind"]) for reason in validity["session"]}
    return {
        str(key): frozenset(own | {str(reason["kind"]) for reason in cell["reasons"]})
        for key, cell in validity["cells"].items()
    }


@dataclass(frozen=True)
class Work:
    """What is left of one group: the members to open, and those whose answers are wanted.

    `unkept` are those of which only what their backends compile is still wanted, or that too;
    `unproved` those answered before without a fingerprint of it, which is wanted now.
    """

    group: Group
    members: tuple[Cell, ...]
    unanswered: frozenset[str]
    timed: bool
    unkept: frozenset[str] = frozenset()
    unproved: frozenset[str] = frozenset()


def remaining(
    groups: Sequence[Group],
    standing: Standing,
    rounds: int,
    has_ir: Callable[[str], bool] = lambda _: True,
    *,
    has_form: Callable[[str], bool] = lambda _: True,
    batches: tuple[int, ...] | None = None,
    fresh: bool = False,
    retry: bool = False,
) -> list[Work]:
    """What is left to do of each group; finished groups are left out.

    A cell that was never timed beside its reference is timed together with it again, since a
    ratio of times exists only inside a session. So is one whose times are INVALID for a reason of
    the moment, such as a busy machine: once more, and with `retry` always.

    Args:
        groups: of the plan.
        standing: what the store holds.
        rounds: of a timing.
        has_ir: whether what a cell's backend compiles is there, or nobody wants it.
        has_form: whether a cell's answers say what it was compiled to, or nobody wants it.
        batches: that offline is to try; None: found by doubling.
        fresh: whether each round is to be timed in processes of its own.
        retry: time everything again that is INVALID, whatever the reason.
    """
    left: list[Work] = []
    for group in groups:
        asked = _Asked(rounds, batches if group.scenario == OFFLINE else None, fresh, retry)
        unanswered = frozenset(c.key for c in group.cells if c.key not in standing.done)
        untimed = _untimed(group, standing.sessions, asked)
        unkept = frozenset(c.key for c in group.cells if c.role == "cell" and not has_ir(c.key))
        unproved = frozenset(
            c.key
            for c in group.cells
            if c.role == "cell" and c.key not in unanswered and not has_form(c.key)
        )
        wanted = unanswered | untimed | unkept | unproved
        if not wanted:
            continue
        timed = group.reference is not None and bool(unanswered | untimed)
        always = {group.reference, group.control} if timed else set()
        members = tuple(c for c in group.cells if c.key in wanted or c.key in always)
        left.append(Work(group, members, unanswered, timed, unkept, unproved))
    return left


def sessions_of(groups: Sequence[Group], sessions: Sequence[PastSession]) -> list[str]:
    """The sessions that hold times of these groups."""
    keys = {cell.key for group in groups for cell in group.cells}
    return [s.id for s in sessions if s.members & keys]


@dataclass(frozen=True)
class _Asked:
    """What a session must be like to count."""

    rounds: int
    batches: tuple[int, ...] | None
    fresh: bool
    retry: bool

    def met_by(self, session: PastSession, group: Group) -> bool:
        """Whether it was timed as asked for, beside the group's reference."""
        return (
            session.reference == group.reference
            and session.reference in session.members
            and session.scenario == (group.scenario or SINGLE_STREAM)
            and session.rounds >= self.rounds
            and session.batches == self.batches
            and (session.fresh or not self.fresh)
        )


def _untimed(group: Group, sessions: Sequence[PastSession], asked: _Asked) -> frozenset[str]:
    """The members that no session timed beside the reference in a way that counts."""
    if group.reference is None:
        return frozenset()
    fitting = [session for session in sessions if asked.met_by(session, group)]
    return frozenset(cell.key for cell in group.cells if not _is_timed(cell.key, fitting, asked))


def _is_timed(key: str, sessions: Sequence[PastSession], asked: _Asked) -> bool:
    beside = [session for session in sessions if key in session.members]
    against = [session.against_pair(key) for session in beside]
    if asked.retry:
        return any(not kinds for kinds in against)
    return len(beside) >= MOST_TRIES or any(not kinds & OF_THE_MOMENT for kinds in against)
