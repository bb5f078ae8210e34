"""One session: loaded cells timed against each other in interleaved rounds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.doctor.machine import describe_machine
from harness.errors import ExecutionError
from harness.execution.attempts import now
from harness.execution.cores import keep_off
from harness.execution.documents import SessionTask
from harness.execution.energy import EnergyMark, EnergyMeter
from harness.execution.machine_samples import Sampler, snapshot
from harness.execution.rounds import balanced_order, floor_over, interleaved
from harness.execution.stage_times import stage_times
from harness.execution.timed_outputs import fetch
from harness.execution.turns import (
    Asked,
    Gauges,
    Member,
    Turn,
    hold,
    look_at_idling,
    note_container,
    note_idling,
    release,
    start_anew,
    take_turn,
    warm_up,
    whole_turn,
)

Tell = Callable[..., None]


@dataclass(frozen=True)
class Place:
    """Where the members of a session run.

    Attributes:
        cores: the leased cores.
        taken: what whoever leads the rounds stays off.
        gpu: UUID of the leased GPU.
        notes: what is not as it should be about the cores, for a person.
    """

    cores: tuple[int, ...]
    taken: tuple[int, ...] = ()
    gpu: str | None = None
    notes: tuple[str, ...] = ()


@dataclass
class _Taken:
    """What the rounds gave, by key."""

    rows: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    turns: list[dict[str, Any]] = field(default_factory=list)
    spans: dict[str, list[tuple[EnergyMark, EnergyMark]]] = field(default_factory=dict)
    queries: dict[str, int] = field(default_factory=dict)
    order: list[list[str]] = field(default_factory=list)

    def add(self, position: int, number: int, turn: Turn) -> None:
        """Keep one turn."""
        key = turn.record["key"]
        durations = np.asarray(turn.durations_ns, dtype=np.int64)
        rows = np.empty((len(durations), 4), dtype=np.int64)
        rows[:, 0], rows[:, 1], rows[:, 3] = position, number, durations
        rows[:, 2] = np.arange(len(durations))
        self.rows.setdefault(key, []).append(rows)
        self.turns.append(turn.record)
        self.spans.setdefault(key, []).extend(turn.spans)
        self.queries[key] = self.queries.get(key, 0) + turn.queries


@dataclass(frozen=True)
class Timed:
    """What came of a session.

    Attributes:
        members: keys of those that were timed.
        dropped: why others were left out, by key.
        outputs: what each member computed in its last timed call, as `fetch` gives it, by key.
        ailing: members that were timed and failed afterwards: no good for another session.
    """

    members: tuple[str, ...]
    dropped: dict[str, str]
    outputs: dict[str, dict[str, Any]]
    ailing: frozenset[str] = frozenset()


def run_session(
    session: SessionTask,
    members: dict[str, Member],
    folder: Path,
    timeout_s: float,
    tell: Tell,
    place: Place,
    searched: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Timed:
    """Warm every member up, then time all in balanced rounds.

    Writes `timings.npy`, int64 [M, 4] (member, round, iteration, duration in ns), `samples.jsonl`
    and `session.json`. A member that fails is left out of the session and named in it; what was
    timed of it is dropped, since a part of its rounds can be paired with nothing. It is taken out
    of `members`.

    Args:
        session: how they are timed.
        members: those that are loaded, by key.
        folder: where to write.
        timeout_s: how long one command may take.
        tell: writes an event.
        place: where they run.
        searched: of offline, the batches that were tried, by key.

    Raises:
        ExecutionError: the machine's samples cannot be written.
    """
    machine = describe_machine()
    created = now()
    dropped: dict[str, str] = {}
    started_ns = time.monotonic_ns()
    tell(
        "timing",
        state="warm-up",
        rounds=session.rounds,
        members=len(members),
        cores=list(place.taken),
        scenario=session.scenario,
    )
    meter = EnergyMeter(place.cores, place.gpu)
    gauges = Gauges(
        now_ns=lambda: time.monotonic_ns() - started_ns,
        core_times=lambda: snapshot(place.cores),
        energy=meter.mark,
    )
    try:
        with keep_off(place.taken) as is_off:
            _warm_all(session, members, dropped, timeout_s, gauges)
            meter.measure_baseline()
            positions = {key: index for index, key in enumerate(members)}
            samples = folder / "samples.jsonl"
            with Sampler(samples, place.cores, place.gpu, started_ns=started_ns):
                cut = place.gpu is None
                taken = _rounds(session, members, dropped, timeout_s, gauges, tell, cut=cut)
            outputs, stages = _look_into(members, dropped, timeout_s)
        energy = {key: meter.account(taken.spans[key], taken.queries[key]) for key in members}
    finally:
        meter.close()
    kept = [rows for key in members for rows in taken.rows[key]]
    timings = np.concatenate(kept) if kept else np.empty((0, 4), dtype=np.int64)
    np.save(folder / "timings.npy", timings)
    everyone = list(members.values())
    for member in everyone:
        note_container(member)
    document = {
        "schema_version": 2,
        "scenario": session.scenario,
        "members": [{"key": key, "position": positions[key]} for key in members],
        "reference": session.reference,
        "control": session.control if session.control in members else None,
        "rounds": session.rounds,
        "round_ns": session.round_ns,
        "min_ns": session.min_ns,
        "min_queries": session.min_queries,
        "offline_batches": session.offline_batches and list(session.offline_batches),
        "fresh_processes": session.fresh_processes,
        "floor": _floor(session),
        "control_bound": session.control_bound,
        "cores": list(place.cores),
        "gpu": place.gpu,
        "kept_off": is_off,
        "notes": list(place.notes),
        "order": [[key for key in turn if key in members] for turn in taken.order],
        "turns": [turn for turn in taken.turns if turn["key"] in members],
        "warmup": {m.key: m.warmup for m in everyone},
        "iterations": {m.key: m.iterations for m in everyone},
        "batch": {m.key: m.batch for m in everyone},
        "idle_cpu_ns": {m.key: m.idle_cpu_ns for m in everyone},
        "spinning": {m.key: m.spinning for m in everyone if m.spinning is not None},
        "not_frozen": {m.key: m.cannot_freeze for m in everyone if m.cannot_freeze is not None},
        "rss_mib": {m.key: m.rss_mib for m in everyone},
        "peak_rss_mib": {m.key: m.peak_rss_mib for m in everyone},
        "starts": {m.key: m.starts for m in everyone if m.starts},
        "peak_container_mib": {m.key: m.peak_container_mib for m in everyone},
        "gpu_mib": {m.key: m.gpu_mib for m in everyone if m.gpu_mib is not None},
        "stages": stages,
        "energy": energy,
        "offline_search": {key: list(tried) for key, tried in (searched or {}).items()},
        "loaded": {m.key: m.loaded for m in everyone},
        "dropped": dropped,
        "machine": machine,
        "load_average_after": describe_machine()["load_average"],
        "created": created,
    }
    (folder / "session.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    ailing = frozenset(key for key, found in stages.items() if "failed" in found)
    return Timed(tuple(members), dropped, outputs, ailing)


def _floor(session: SessionTask) -> float:
    """Below this no difference of times is claimed."""
    return floor_over(session.floor, session.rounds if session.fresh_processes else 1)


def asked_of(session: SessionTask) -> Asked:
    """What a session asks of each member's rounds."""
    return Asked(
        rounds=session.rounds,
        round_ns=session.round_ns,
        min_ns=session.min_ns,
        min_queries=session.min_queries,
        warmup_ns=session.warmup_ns,
        offline=session.scenario == "offline",
    )


def _warm_all(
    session: SessionTask,
    members: dict[str, Member],
    dropped: dict[str, str],
    timeout_s: float,
    gauges: Gauges,
) -> None:
    asked = asked_of(session)

    def warm(member: Member) -> None:
        warm_up(member, asked, timeout_s, gauges.now_ns)
        hold(member)

    _each(members, dropped, warm)
    held = {key for key, member in members.items() if member.frozen}
    for key, reason in look_at_idling(list(members.values()), timeout_s, gauges.now_ns).items():
        dropped[key] = str(reason)
        del members[key]
    if any(member.frozen for key, member in members.items() if key not in held):
        # Whoever spins took the cores from those that warmed up after it, and the length of a
        # round is chosen by a warm-up's times.
        _each(members, dropped, warm)


def _look_into(
    members: dict[str, Member], dropped: dict[str, str], timeout_s: float
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """What each computed in its last timed call, and the stages of its queries, by key.

    Those that spin stay frozen meanwhile, and afterwards too: the next thing that is asked of them
    thaws them.
    """
    outputs: dict[str, dict[str, Any]] = {}
    stages: dict[str, dict[str, Any]] = {}

    def look(member: Member) -> None:
        release(member)
        # Before anything else is asked: it holds the outputs of its last timed call.
        outputs[member.key] = fetch(member.worker, member.folder, timeout_s)
        stages[member.key] = stage_times(member, timeout_s)
        hold(member)

    _each(members, dropped, look)
    return outputs, stages


def _each(
    members: dict[str, Member],
    dropped: dict[str, str],
    work: Callable[[Member], None],
    order: Sequence[str] | None = None,
) -> None:
    """Do something with every member, in order; one that fails is left out from then on."""
    for member in [members[key] for key in order or members]:
        try:
            work(member)
        except ExecutionError as error:
            dropped[member.key] = str(error)
            del members[member.key]


def _rounds(
    session: SessionTask,
    members: dict[str, Member],
    dropped: dict[str, str],
    timeout_s: float,
    gauges: Gauges,
    tell: Tell,
    *,
    cut: bool,
) -> _Taken:
    taken = _Taken()
    ordered = list(members.values())
    asked = asked_of(session)

    def start(member: Member) -> None:
        if member.anew is not None:
            start_anew(member, len(taken.order) - 1, asked, timeout_s, gauges)

    for number, order in enumerate(balanced_order(len(ordered), session.rounds)):
        taken.order.append([ordered[i].key for i in order if ordered[i].key in members])
        # All are started first, so that what is compared is timed one right after the other; in
        # the round's order, since what was started before a process has a part in its luck.
        _each(members, dropped, start, taken.order[-1])
        slices: dict[str, list[Turn]] = {key: [] for key in members}
        present = [ordered[i] for i in order if ordered[i].key in members]
        for place, iterations in interleaved(
            [(member.iterations, member.typical_ns) for member in present], cut=cut
        ):
            member = present[place]
            if member.key not in members:
                continue
            try:
                turn = take_turn(member, number, iterations, timeout_s, gauges)
                slices[member.key].append(turn)
            except ExecutionError as error:
                dropped[member.key] = str(error)
                del members[member.key]
        for index, member in ((i, ordered[i]) for i in order):
            if member.key in members:
                turn = whole_turn(slices[member.key])
                taken.add(index, number, turn)
                note_idling(member, turn)
        tell("round", done=number + 1, total=session.rounds)
    return taken
