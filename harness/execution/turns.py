"""Members of a session and their turns: warm-up, idle waiting, and one round of one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import ExecutionError
from harness.execution.energy import EnergyMark
from harness.execution.machine_samples import CoreTimes
from harness.execution.rounds import iterations_for, typical_ns
from harness.execution.workers import Worker

SPINNING_SHARE = 0.02
"""An idle worker that uses more of a core than this takes it from the others: it is frozen."""
_SPINNING_NS = 5_000_000
_REPLY_NS = 200
"""Less than this (and so much for each duration that is told) is what receiving a command and
sending the last reply take, and no spinning."""
_IDLE_NS = 100_000_000
"""Idle time shorter than this tells nothing about how a worker idles."""

_WARMUP_LEAST = 3
_WARMUP_MOST = 100_000
# The part of a round that is run again, unrecorded, to wake caches up after waiting.
_REWARM_SHARE = 0.2


@dataclass
class Member:
    """A loaded cell that takes part in a session.

    Attributes:
        key: of the cell.
        worker: that holds it.
        folder: where the worker writes.
        loaded: its event `loaded`.
        batch: inputs a call.
        gpu_mib: of the GPU's memory, what loading it took; None if unknown.
        iterations: recorded calls a round.
        typical_ns: what a call takes, by the warm-up.
        warmup: how the warm-up went.
        idle_cpu_ns: processor time while it waited, before each of its turns.
        rss_mib: the most resident memory that was seen after a turn.
        peak_rss_mib: the most that its process ever had; None where the kernel does not say.
        rested_ns: when its last command ended, on the session's clock.
        frozen: whether it is held while it waits.
        spinning: the share of a core that it used while idle, where that was too much.
        cannot_freeze: why it could not be held, though it spins.
        anew: ends its worker and starts another, which has loaded the same cell; None where it
            stays as it is.
        starts: how each start for a round went.
        peak_container_mib: the most that its containers used; None where nobody says.
    """

    key: str
    worker: Worker
    folder: Path
    loaded: dict[str, Any]
    batch: int = 1
    gpu_mib: float | None = None
    iterations: int = 1
    typical_ns: float = 1.0
    warmup: dict[str, Any] = field(default_factory=dict)
    idle_cpu_ns: list[int] = field(default_factory=list)
    rss_mib: float = 0.0
    peak_rss_mib: float | None = None
    rested_ns: int = 0
    frozen: bool = False
    spinning: float | None = None
    cannot_freeze: str | None = None
    anew: Callable[[], Started] | None = None
    starts: list[dict[str, Any]] = field(default_factory=list)
    peak_container_mib: float | None = None


@dataclass(frozen=True)
class Started:
    """A worker that has loaded its cell: itself, where it writes, and its event `loaded`."""

    worker: Worker
    folder: Path
    loaded: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is asked of every member's rounds.

    Attributes:
        rounds: how many there are.
        round_ns: about how long one takes, at least.
        min_ns: how long all of them take together, at least.
        min_queries: how many queries all of them hold, at least.
        warmup_ns: the most that warming up may take.
        offline: whether every input of a batch is a query, or every call.
    """

    rounds: int
    round_ns: int
    min_ns: int = 0
    min_queries: int = 1
    warmup_ns: int = 1_000_000_000
    offline: bool = False

    def min_iterations(self, batch: int) -> int:
        """Calls over all rounds, at least."""
        return -(-self.min_queries // batch) if self.offline else self.min_queries


@dataclass(frozen=True)
class Gauges:
    """What is read of the machine around a turn.

    Attributes:
        now_ns: the session's clock, monotonic.
        core_times: what the leased cores have done so far; None where the kernel does not say.
        energy: the energy counters.
    """

    now_ns: Callable[[], int]
    core_times: Callable[[], CoreTimes | None]
    energy: Callable[[], EnergyMark]


def warm_up(member: Member, asked: Asked, timeout_s: float, now_ns: Callable[[], int]) -> None:
    """Run it until its times are steady, and choose how long its rounds are.

    Raises:
        ExecutionError: it failed, or took too long.
    """
    asked_ns = now_ns()
    reply = _run_until_steady(member, asked, timeout_s)
    member.rested_ns = now_ns()
    # The reference has a session after another: each records its own.
    member.idle_cpu_ns, member.starts = [], []
    durations = [int(ns) for ns in reply["durations_ns"]]
    member.typical_ns = typical_ns(durations)
    member.iterations = iterations_for(
        durations,
        asked.round_ns,
        rounds=asked.rounds,
        min_iterations=asked.min_iterations(member.batch),
        min_ns=asked.min_ns,
    )
    member.warmup = {
        "iterations": len(durations),
        "steady": bool(reply["steady"]),
        "duration_ns": sum(durations),
        "command_ns": member.rested_ns - asked_ns,
        "first_ns": durations[0] if durations else None,
        "last_ns": durations[-1] if durations else None,
    }
    _note_memory(member, reply)


def start_anew(member: Member, number: int, asked: Asked, timeout_s: float, gauges: Gauges) -> None:
    """Give a member a fresh process for a round, warmed up, and held until its turn if it spins.

    Its rounds stay as long as they were.

    Raises:
        ExecutionError: it cannot be started, failed, or took too long.
    """
    assert member.anew is not None  # noqa: S101 - the caller looked
    release(member)
    note_container(member)
    started_ns = gauges.now_ns()
    started = member.anew()
    member.worker, member.folder, member.frozen = started.worker, started.folder, False
    loaded_ns = gauges.now_ns()
    reply = _run_until_steady(member, asked, timeout_s)
    member.rested_ns = gauges.now_ns()
    member.starts.append(
        {
            "round": number,
            "start_ns": loaded_ns - started_ns,
            **{name: started.loaded[name] for name in ("load_ns", "compile_ns")},
            "first_inference_ns": started.loaded["first_inference_ns"],
            "warmup_ns": member.rested_ns - loaded_ns,
            "warmup_iterations": len(reply["durations_ns"]),
            "steady": bool(reply["steady"]),
        }
    )
    _note_memory(member, reply)
    hold(member)


def note_container(member: Member) -> None:
    """Keep the most that its container has used so far, where it runs in one."""
    peak = member.worker.peak_mib()
    if peak is not None:
        member.peak_container_mib = max(member.peak_container_mib or 0.0, peak)


def look_at_idling(
    members: Sequence[Member],
    timeout_s: float,
    now_ns: Callable[[], int],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, ExecutionError]:
    """Let all wait for a moment, then hold those that use a core while they wait.

    Returns:
        Why members failed meanwhile, by key.
    """
    failed: dict[str, ExecutionError] = {}
    sleep(2 * _IDLE_NS / 1e9)
    for member in members:
        try:
            idle_ns = now_ns() - member.rested_ns
            reply = _command(member, {"command": "round", "iterations": 1, "warmup": 0}, timeout_s)
            member.rested_ns = now_ns()
            judge_idling(member, int(reply["cpu_ns_since_last"]), idle_ns)
        except ExecutionError as error:
            failed[member.key] = error
    for member in members:
        if member.key not in failed:
            hold(member)
    return failed


def idle_share(cpu_ns: int, idle_ns: int) -> float | None:
    """The share of one core that was used while idle; None if it waited too briefly to tell."""
    return cpu_ns / idle_ns if idle_ns >= _IDLE_NS else None


def judge_idling(member: Member, cpu_ns: int, idle_ns: int) -> None:
    """Note that it spins, if it does; once noted, that stays."""
    share = idle_share(cpu_ns, idle_ns)
    talking_ns = _SPINNING_NS + _REPLY_NS * max(
        member.iterations, int(member.warmup.get("iterations", 0))
    )
    spins = share is not None and share > SPINNING_SHARE and cpu_ns > talking_ns
    if spins and member.spinning is None:
        member.spinning = share


def note_idling(member: Member, turn: Turn) -> None:
    """Keep what it used while it waited for its turn, and hold it from now on if it spins.

    Its slices are too close to each other for each to be judged by itself.
    """
    member.idle_cpu_ns.append(turn.record["idle_cpu_ns"])
    if not turn.record["frozen"]:
        judge_idling(member, turn.record["idle_cpu_ns"], turn.record["idle_ns"])
        hold(member)


def hold(member: Member) -> None:
    """Freeze one that spins, until its next turn; why not, if it cannot be, is noted."""
    if member.spinning is None or member.frozen or member.cannot_freeze is not None:
        return
    try:
        member.worker.freeze()
        member.frozen = True
    except ExecutionError as error:
        member.cannot_freeze = str(error)


def release(member: Member) -> None:
    """Let one go on that was frozen.

    Raises:
        ExecutionError: it cannot; it is of no use then.
    """
    if member.frozen:
        member.worker.thaw()
        member.frozen = False


@dataclass(frozen=True)
class Turn:
    """What one member did in one round, or in a slice of it.

    Attributes:
        durations_ns: of each recorded call.
        record: the turn as `session.json` has it.
        spans: the energy counters before and after each slice.
        queries: inputs that went through the model meanwhile, the unrecorded ones too.
    """

    durations_ns: list[int]
    record: dict[str, Any]
    spans: tuple[tuple[EnergyMark, EnergyMark], ...]
    queries: int


_ADDED = ("cpu_ns", "wait_ns", "idle_cpu_ns", "idle_ns", "busy_ns", "steal_ns")
"""Of a turn's slices these are added up; what one does not know, nobody knows of the turn."""


def whole_turn(slices: Sequence[Turn]) -> Turn:
    """The slices of one member in one round as one turn."""
    records = [one.record for one in slices]
    return Turn(
        durations_ns=[ns for one in slices for ns in one.durations_ns],
        record={
            "key": records[0]["key"],
            "round": records[0]["round"],
            "start_ns": records[0]["start_ns"],
            "end_ns": records[-1]["end_ns"],
            "slices": [[record["start_ns"], record["end_ns"]] for record in records],
            **{name: _sum([record[name] for record in records]) for name in _ADDED},
            "frozen": any(record["frozen"] for record in records),
        },
        spans=tuple(span for one in slices for span in one.spans),
        queries=sum(one.queries for one in slices),
    )


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def take_turn(
    member: Member, number: int, iterations: int, timeout_s: float, gauges: Gauges
) -> Turn:
    """Time so many calls of a member; it goes on before, and is held after, if it spins.

    Raises:
        ExecutionError: it failed, or took too long.
    """
    was_frozen = member.frozen
    release(member)
    again = max(1, round(iterations * _REWARM_SHARE))
    mark = gauges.energy()
    cores = gauges.core_times()
    start = gauges.now_ns()
    reply = _command(
        member,
        {"command": "round", "iterations": iterations, "warmup": again},
        timeout_s,
    )
    end = gauges.now_ns()
    cores_after = gauges.core_times()
    span = (mark, gauges.energy())
    done = None if cores is None or cores_after is None else cores_after.since(cores)
    idle_cpu_ns, idle_ns = int(reply["cpu_ns_since_last"]), start - member.rested_ns
    member.rested_ns = end
    _note_memory(member, reply)
    hold(member)
    return Turn(
        [int(ns) for ns in reply["durations_ns"]],
        {
            "key": member.key,
            "round": number,
            "start_ns": start,
            "end_ns": end,
            "cpu_ns": reply["cpu_ns"],
            "wait_ns": reply["wait_ns"],
            "idle_cpu_ns": idle_cpu_ns,
            "idle_ns": idle_ns,
            "busy_ns": None if done is None else done.busy_ns,
            "steal_ns": None if done is None else done.steal_ns,
            "frozen": was_frozen,
        },
        (span,),
        (iterations + again) * member.batch,
    )


def _run_until_steady(member: Member, asked: Asked, timeout_s: float) -> dict[str, Any]:
    return _command(
        member,
        {
            "command": "warmup",
            "min_iterations": _WARMUP_LEAST,
            "max_iterations": _WARMUP_MOST,
            "max_duration_ns": asked.warmup_ns,
        },
        timeout_s,
    )


def _command(member: Member, document: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    release(member)
    return member.worker.command(document, timeout_s, lambda _: None)


def _note_memory(member: Member, reply: Mapping[str, Any]) -> None:
    if (rss := reply.get("rss_mib")) is not None:
        member.rss_mib = max(member.rss_mib, float(rss))
    if (peak := reply.get("peak_rss_mib")) is not None:
        member.peak_rss_mib = max(member.peak_rss_mib or 0.0, float(peak))
