"""One session: loaded cells timed against each other in interleaved rounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.doctor.machine import describe_machine
from harness.errors import ExecutionError
from harness.execution.attempts import now
from harness.execution.documents import SessionTask
from harness.execution.rounds import balanced_order, iterations_for
from harness.execution.workers import Worker

# A warm-up may take this many times the length of a round.
_WARMUP_ROUNDS = 4
_WARMUP_MOST = 1000
# The part of a round that is run again, unrecorded, to wake caches up after waiting.
_REWARM_SHARE = 0.2


@dataclass
class Member:
    """A loaded cell that takes part in a session."""

    key: str
    worker: Worker
    loaded: dict[str, Any]
    iterations: int = 1
    warmup: dict[str, Any] = field(default_factory=dict)
    idle_cpu_ns: list[int] = field(default_factory=list)
    rss_mib: float = 0.0


Tell = Callable[..., None]


def run_session(
    session: SessionTask, members: dict[str, Member], folder: Path, timeout_s: float, tell: Tell
) -> dict[str, str]:
    """Warm every member up, then time all in balanced rounds.

    Writes `timings.npy`, int64 [M, 4] (member, round, iteration, duration in ns), and
    `session.json`. A member that fails is left out of the session and named in it; what was
    timed of it is dropped, since a part of its rounds can be paired with nothing.

    Returns:
        Why members were left out, by key.
    """
    dropped: dict[str, str] = {}
    started = describe_machine()
    created = now()
    tell("timing", state="warm-up", rounds=session.rounds, members=len(members))
    for member in list(members.values()):
        try:
            _warm_up(member, session.round_ns, timeout_s)
        except ExecutionError as error:
            dropped[member.key] = str(error)
            del members[member.key]
    positions = {key: index for index, key in enumerate(members)}
    rows: list[tuple[int, int, int, int]] = []
    order: list[list[str]] = []
    ordered = list(members.values())
    for number, turn in enumerate(balanced_order(len(ordered), session.rounds)):
        order.append([ordered[i].key for i in turn if ordered[i].key in members])
        for index in turn:
            member = ordered[index]
            if member.key not in members:
                continue
            try:
                durations = _one_round(member, timeout_s)
            except ExecutionError as error:
                dropped[member.key] = str(error)
                del members[member.key]
                continue
            rows.extend((index, number, i, ns) for i, ns in enumerate(durations))
        tell("round", done=number + 1, total=session.rounds)
    kept = [row for row in rows if ordered[row[0]].key in members]
    np.save(folder / "timings.npy", np.asarray(kept, dtype=np.int64).reshape(-1, 4))
    document = {
        "schema_version": 1,
        "members": [{"key": key, "position": positions[key]} for key in members],
        "reference": session.reference,
        "control": session.control if session.control in members else None,
        "rounds": session.rounds,
        "round_ns": session.round_ns,
        "order": [[key for key in turn if key in members] for turn in order],
        "warmup": {m.key: m.warmup for m in members.values()},
        "iterations": {m.key: m.iterations for m in members.values()},
        "idle_cpu_ns": {m.key: m.idle_cpu_ns for m in members.values()},
        "rss_mib": {m.key: m.rss_mib for m in members.values()},
        "loaded": {m.key: m.loaded for m in members.values()},
        "dropped": dropped,
        "machine": started,
        "load_average_after": describe_machine()["load_average"],
        "created": created,
    }
    (folder / "session.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    return dropped


def _warm_up(member: Member, round_ns: int, timeout_s: float) -> None:
    reply = member.worker.command(
        {
            "command": "warmup",
            "min_iterations": 3,
            "max_iterations": _WARMUP_MOST,
            "max_duration_ns": round_ns * _WARMUP_ROUNDS,
        },
        timeout_s,
        lambda _: None,
    )
    durations = [int(ns) for ns in reply["durations_ns"]]
    member.iterations = iterations_for(durations, round_ns)
    member.warmup = {
        "iterations": len(durations),
        "steady": bool(reply["steady"]),
        "first_ns": durations[0] if durations else None,
        "last_ns": durations[-1] if durations else None,
    }


def _one_round(member: Member, timeout_s: float) -> list[int]:
    again = max(1, round(member.iterations * _REWARM_SHARE))
    reply = member.worker.command(
        {"command": "round", "iterations": member.iterations, "warmup": again},
        timeout_s,
        lambda _: None,
    )
    member.idle_cpu_ns.append(int(reply["cpu_ns_since_last"]))
    member.rss_mib = max(member.rss_mib, float(reply["rss_mib"]))
    return [int(ns) for ns in reply["durations_ns"]]
