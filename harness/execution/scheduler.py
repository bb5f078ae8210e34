"""What to start next: a pure state machine over a graph of jobs. Events in, instructions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

# A device job is timed, so nothing else may run beside it.
DEVICE_LANE = "device"
LANES = {"provision": 2, "prepare": 1, DEVICE_LANE: 1}


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work.

    Attributes:
        name: unique in its sweep.
        lane: `provision`, `prepare` or `device`.
        needs: jobs that must be done before.
        wants: jobs that must have ended, well or not, before.
    """

    name: str
    lane: str
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """An event: a job ended."""

    name: str
    ok: bool


class Scheduler:
    """Decides the order of jobs; does no work itself and has no clock.

    Jobs of the device lane run alone. Whatever else is ready runs first, side by side as far
    as its lane has room.
    """

    def __init__(self, jobs: Iterable[Job], lanes: Mapping[str, int] = LANES) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._lanes = dict(lanes)
        self._states = dict.fromkeys(self._jobs, State.WAITING)
        for job in self._jobs.values():
            for name in (*job.needs, *job.wants):
                if name not in self._jobs:
                    raise KeyError(f"job {job.name} waits for {name}, which is not a job")

    @property
    def states(self) -> dict[str, State]:
        """Where each job stands."""
        return dict(self._states)

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing can start any more."""
        return not any(s in {State.WAITING, State.RUNNING} for s in self._states.values())

    def start(self) -> list[str]:
        """Jobs to start now; they count as running from here on."""
        self._block()
        ready = [j for j in self._jobs.values() if self._ready(j)]
        side_by_side = [j for j in ready if j.lane != DEVICE_LANE]
        started: list[str] = []
        if self._running(DEVICE_LANE) == 0:
            for job in side_by_side:
                if self._running(job.lane) < self._lanes[job.lane]:
                    self._states[job.name] = State.RUNNING
                    started.append(job.name)
            if not self._anything_running():
                alone = next((j for j in ready if j.lane == DEVICE_LANE), None)
                if alone is not None:
                    self._states[alone.name] = State.RUNNING
                    started.append(alone.name)
        return started

    def on(self, event: Ended) -> None:
        """Take note that a job ended.

        Raises:
            ValueError: the job was not running.
        """
        if self._states.get(event.name) is not State.RUNNING:
            raise ValueError(f"{event.name} is not running")
        self._states[event.name] = State.DONE if event.ok else State.FAILED
        self._block()

    def _ready(self, job: Job) -> bool:
        return (
            self._states[job.name] is State.WAITING
            and all(self._states[n] is State.DONE for n in job.needs)
            and all(self._states[n] not in {State.WAITING, State.RUNNING} for n in job.wants)
        )

    def _block(self) -> None:
        """Mark what can never start, transitively."""
        changed = True
        while changed:
            changed = False
            for job in self._jobs.values():
                if self._states[job.name] is State.WAITING and any(
                    self._states[n] in {State.FAILED, State.BLOCKED} for n in job.needs
                ):
                    self._states[job.name] = State.BLOCKED
                    changed = True

    def _running(self, lane: str) -> int:
        return sum(
            1
            for name, state in self._states.items()
            if state is State.RUNNING and self._jobs[name].lane == lane
        )

    def _anything_running(self) -> bool:
        return any(state is State.RUNNING for state in self._states.values())
