"""A group's sessions: who is loaded beside whom, as far as memory goes, and timed together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import ExecutionError
from harness.execution.cores import keep_off, own_cores
from harness.execution.documents import CellTask, GroupDocument
from harness.execution.offline import BatchSearch
from harness.execution.opening import Opener
from harness.execution.room import Room
from harness.execution.timing import Place, run_session
from harness.execution.turns import Member, Started
from harness.execution.workers import Worker
from harness.trees import remove_tree

Answer = Callable[[CellTask], Member | None]
OpenAt = Callable[[CellTask, int, Path], tuple[Worker, dict[str, Any]]]


class Sessions:
    """Times a group's cells in as few sessions as its memory allows.

    The reference and its control take part in each of them.

    Args:
        group: the group document, with a session.
        opener: starts workers.
        answer: opens a cell for timing, and gets its answers if they are wanted; None if it
            failed, which is told then.
        open_at: opens a cell with a batch of inputs, in a folder.
        tell: writes an event.
    """

    def __init__(
        self,
        group: GroupDocument,
        opener: Opener,
        answer: Answer,
        open_at: OpenAt,
        tell: Callable[..., None],
    ) -> None:
        assert group.session is not None  # noqa: S101 - the caller looked
        self._group, self._session = group, group.session
        self._opener, self._answer, self._open_at, self._tell = opener, answer, open_at, tell
        self._room = Room(next((task.gpu for task in group.cells if task.gpu), None))
        self._count = 0

    def run(self) -> None:
        """Answer what is wanted, and time all; each failure is told and the rest goes on."""
        try:
            if self._session.scenario == "offline":
                self._offline()
            else:
                self._in_parts(self._group.cells, self._answer, {})
        finally:
            self._room.close()

    def _offline(self) -> None:
        """Answers with the cells' own batches first, then each by itself at its best batch."""
        answered = []
        for task in self._group.cells:
            if not (task.answers or task.job.get("keep_ir")):
                answered.append(task)
            elif self._answer(task) is not None:
                self._opener.close(task.key)
                answered.append(task)
        search = BatchSearch(
            self._session,
            self._group.results / "batches",
            self._open_at,
            self._group.timeout_s,
            self._room,
            self._tell,
        )
        best: dict[str, int] = {}
        for task in answered:
            if task.key == self._session.control and self._session.reference in best:
                best[task.key] = best[self._session.reference]
                continue
            taken = self._place([task]).taken
            with keep_off(taken):
                found = search.best(task, taken)
            self._opener.forget(task.key)
            if found is not None:
                best[task.key] = found
            else:
                self._not_timed([task.key], f"it ran at no batch: {search.why_not(task)}")

        def load(task: CellTask) -> Member | None:
            return self._load_at(task, best[task.key])

        self._in_parts([task for task in answered if task.key in best], load, search.found)

    def _in_parts(
        self,
        tasks: Iterable[CellTask],
        load: Callable[[CellTask], Member | None],
        searched: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        """Load cells until the next would not fit, time them, and go on with the others."""
        always = {self._session.reference, self._session.control}
        tasks = list(tasks)
        heads = [task for task in tasks if task.key in always]
        left = deque(task for task in tasks if task.key not in always)
        members: dict[str, Member] = {}
        lost: set[str] = set()
        first = True
        while first or left:
            for task in heads:
                if task.key not in members and task.key not in lost:
                    again = task if first else task.model_copy(update={"answers": False})
                    if not self._loaded(again, load, members):
                        lost.add(task.key)
            loaded = 0
            while left and (not loaded or self._room.holds_one_more()):
                loaded += self._loaded(left.popleft(), load, members)
            if left:
                self._tell("part", loaded=len(members), left=len(left))
            ailing = self._time(members, searched) if members else frozenset()
            kept = (always & set(members)) - ailing
            for key in set(self._opener.open) - kept:
                self._opener.close(key)
            members = {key: member for key, member in members.items() if key in kept}
            first = False

    def _loaded(
        self,
        task: CellTask,
        load: Callable[[CellTask], Member | None],
        members: dict[str, Member],
    ) -> bool:
        before = self._room.free()
        member = load(task)
        if member is None:
            return False
        taken = self._room.free().since(before)
        self._room.note(taken)
        member.gpu_mib = taken.gpu_mib
        if self._session.fresh_processes:
            member.anew = partial(self._start_anew, task, member.batch)
        members[task.key] = member
        return True

    def _start_anew(self, task: CellTask, batch: int) -> Started:
        """A fresh worker of a cell, in the place of the one that is open.

        Raises:
            ExecutionError: it cannot be started, or does not load.
        """
        self._opener.close(task.key)
        folder = self._group.results / "fresh" / task.key
        if folder.exists():
            remove_tree(folder)
        folder.mkdir(parents=True)
        worker, loaded = self._open_at(task, batch, folder)
        return Started(worker, folder, loaded)

    def _load_at(self, task: CellTask, batch: int) -> Member | None:
        folder = self._group.results / "offline" / f"{task.key}-{self._count}"
        folder.mkdir(parents=True)
        try:
            worker, loaded = self._open_at(task, batch, folder)
        except ExecutionError as error:
            self._not_timed([task.key], f"({error.kind}) {error}")
            return None
        return Member(task.key, worker, folder, loaded, batch)

    def _time(
        self, members: dict[str, Member], searched: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> frozenset[str]:
        """Time what is loaded; those that can take part in no other session."""
        self._count += 1
        folder = self._group.results / f"session-{self._count}"
        folder.mkdir()
        everyone = list(members)
        tasks = {task.key: task for task in self._group.cells}
        place = self._place([tasks[key] for key in members])
        found = {key: searched[key] for key in members if key in searched}
        try:
            timed = run_session(
                self._session, members, folder, self._group.timeout_s, self._tell, place, found
            )
        except ExecutionError as error:
            self._not_timed(everyone, f"({error.kind}) {error}")
            return frozenset(everyone)
        except OSError as error:
            self._not_timed(everyone, f"what was timed cannot be written to {folder}: {error}")
            return frozenset(everyone)
        self._tell(
            "timed",
            folder=str(folder),
            members=list(timed.members),
            dropped=timed.dropped,
            outputs=timed.outputs,
        )
        return timed.ailing

    def _place(self, tasks: Sequence[CellTask]) -> Place:
        """The cores of all of them; where one needs all that there are, nothing is kept off."""
        choices = [self._opener.cores_of(threads) for threads in {t.threads for t in tasks}]
        pinned = [choice for choice in choices if choice.cells is not None]
        whole = len(pinned) < len(choices)
        cores = own_cores() if whole else {core for c in pinned for core in c.cells or ()}
        return Place(
            cores=tuple(sorted(cores)),
            taken=() if whole else tuple(sorted({core for c in pinned for core in c.taken})),
            gpu=next((task.gpu for task in tasks if task.gpu), None),
            notes=tuple(dict.fromkeys(choice.note for choice in choices if choice.note)),
        )

    def _not_timed(self, keys: Sequence[str], reason: str) -> None:
        self._tell("not-timed", keys=list(keys), reason=reason)
