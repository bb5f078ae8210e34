"""Whether something else had the cores: other programs, other machines, waiting cells."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from harness.execution.validity.facts import Facts, Finding, Turn

# A turn is disturbed if others had this part of one core's time during it. What an idle system
# does on a core (interrupts, kernel threads) is below 2 %; a program that competes takes half.
DISTURBED_CORE = 0.10
# More for each further core, since each brings its own small noise. One core that is shared by
# halves stands out among sixteen.
DISTURBED_FURTHER_CORE = 0.02
# /proc/stat counts in steps of 10 ms, and a turn has a beginning and an end. What a turn's slices are
# wrong by adds up as independent errors do: four of them fill this bound no more than one does.
COUNTER_STEPS_NS = 20_000_000
SLICES_WITHIN_STEPS = 4
# A cell is INVALID if more than this share of its turns is disturbed: 4 of 16. A ratio comes from
# the medians of paired rounds, so a few bad rounds widen its interval and do not move it far; a
# neighbour for a third of the rounds does, and a short burst (a cron job, an update) does not.
DISTURBED_TURNS = 0.20
# A cell's threads may wait for each other, more threads than cores, in every round alike: waiting
# counts beyond this many times the cell's usual.
USUAL_WAIT = 1.5
# Counters that do not even show the cell's own work are not the kernel's own (a container may be
# shown others): below this share of it they are not believed.
BELIEVABLE = 0.5
# The hypervisor ran another machine for more than this part of the leased cores' time. A shared
# machine's usual is 1 or 2 %.
STOLEN_CORE = 0.10
# A cell that should wait used more than this part of one core. Waiting on a socket uses nothing;
# threads that spin for their next work use a core each.
SPINNING_CORE = 0.10
# In a shorter wait, sending the last reply and receiving the next command weigh too much. A cell
# that ends one round and begins the next has hardly any.
SHORTEST_WAIT_NS = 100_000_000


def judge_neighbours(facts: Facts) -> list[Finding]:
    """`busy-machine`: other programs ran on the cell's cores, or kept its threads waiting."""
    findings, unknown, unbelievable, unseen = [], [], [], []
    for key in facts.keys:
        turns = facts.turns[key]
        foreign = [turn.foreign_ns for turn in turns if turn.foreign_ns is not None]
        if foreign and not _believable(turns):
            unbelievable.append(key)
            foreign = []
        waited = [turn.wait_ns for turn in turns if turn.wait_ns is not None]
        if not foreign and not waited:
            unknown.append(key)
            continue
        if not foreign:
            unseen.append(key)
        usual = statistics.median(_share(turn.wait_ns, turn) for turn in turns)
        disturbed = [
            turn
            for turn in turns
            if (foreign and (turn.foreign_ns or 0) > _foreign_bound_ns(turn))
            or _share(turn.wait_ns, turn) > USUAL_WAIT * usual + _core_bound(turn)
        ]
        if len(disturbed) > DISTURBED_TURNS * len(turns):
            findings.append(_busy(key, turns, disturbed, seen=bool(foreign)))
    if unbelievable:
        findings.append(
            Finding.unjudged(
                f"other programs on the cores of {facts.names(unbelievable)}: the kernel's "
                "counters do not even show the cell's own work here"
            )
        )
    if only_wait := [key for key in unseen if key not in unbelievable]:
        findings.append(
            Finding.unjudged(
                f"other programs that ran beside {facts.names(only_wait)} all the time: /proc/stat "
                "does not show the cores here, so only turns that waited longer than usual are seen"
            )
        )
    if unknown:
        findings.append(
            Finding.unjudged(
                f"other programs on the cores of {facts.names(unknown)}: neither their busy time "
                "nor the cell's waiting time was recorded"
            )
        )
    return findings


def judge_steal(facts: Facts) -> list[Finding]:
    """`stolen`: the hypervisor gave the cores to another machine."""
    findings, unknown = [], []
    for key in facts.keys:
        turns = [turn for turn in facts.turns[key] if turn.steal_ns is not None]
        if not turns:
            unknown.append(key)
            continue
        bad = [turn for turn in turns if (turn.steal_ns or 0) > _steal_bound_ns(turn)]
        if len(bad) > DISTURBED_TURNS * len(turns):
            share = sum(turn.steal_ns or 0 for turn in bad) / sum(
                turn.wall_ns * turn.cores for turn in bad
            )
            findings.append(
                Finding(
                    key,
                    "stolen",
                    f"In {len(bad)} of {len(turns)} turns the hypervisor ran other machines for "
                    f"more than {STOLEN_CORE:.0%} of the leased cores' time ({share:.0%} of it in "
                    f"those), and more than {DISTURBED_TURNS:.0%} of the turns are not believed. "
                    "Time again later, or on a machine with cores of its own.",
                )
            )
    if unknown:
        findings.append(
            Finding.unjudged(f"steal time of {facts.names(unknown)}: the kernel does not show it")
        )
    return findings


def judge_spinning(facts: Facts) -> list[Finding]:
    """`spinning`: a cell kept computing while others had their turn, and was not stopped."""
    findings, unknown = [], []
    for key in facts.keys:
        shares = _idle_shares(facts.turns[key])
        if not shares:
            # Alone it takes nothing from anybody.
            if len(facts.keys) > 1:
                unknown.append(key)
            continue
        bad = [share for share in shares if share > SPINNING_CORE]
        if len(bad) > DISTURBED_TURNS * len(shares):
            findings.append(
                Finding(
                    key,
                    "spinning",
                    f"Before {len(bad)} of {len(shares)} turns it used {statistics.median(bad):.0%} "
                    f"of a core while it should have waited for its turn; more than "
                    f"{SPINNING_CORE:.0%} is not believed: it takes cores from the others and keeps "
                    "its own caches warm. Make its threads sleep when they have no work "
                    f"(OMP_WAIT_POLICY=PASSIVE, KMP_BLOCKTIME=0).{_not_frozen(facts, key)}",
                )
            )
    if unknown:
        findings.append(
            Finding.unjudged(
                f"what {facts.names(unknown)} did while others had their turn: it was not recorded"
            )
        )
    return findings


def _busy(key: str, turns: Sequence[Turn], disturbed: Sequence[Turn], *, seen: bool) -> Finding:
    wall = sum(turn.wall_ns for turn in disturbed)
    parts = []
    if seen:
        used = sum(turn.foreign_ns or 0 for turn in disturbed) / wall
        parts.append(f"other programs used {used:.0%} of a core")
    if any(turn.wait_ns is not None for turn in disturbed):
        waited = sum(turn.wait_ns or 0 for turn in disturbed) / wall
        parts.append(f"its threads waited for a core {waited:.0%} of the time")
    return Finding(
        key,
        "busy-machine",
        f"In {len(disturbed)} of {len(turns)} turns {' and '.join(parts)}; more than "
        f"{_core_bound(turns[0]):.0%} in more than {DISTURBED_TURNS:.0%} of the turns is not "
        "believed. End what else runs on this machine (see `top`), then time again.",
    )


def _not_frozen(facts: Facts, key: str) -> str:
    why = (facts.document.get("not_frozen") or {}).get(key)
    return f" It could not be stopped meanwhile: {why}" if why else ""


def _core_bound(turn: Turn) -> float:
    """The part of one core's time that others may have."""
    return DISTURBED_CORE + DISTURBED_FURTHER_CORE * (turn.cores - 1)


def _foreign_bound_ns(turn: Turn) -> float:
    return _core_bound(turn) * turn.wall_ns + _steps_ns(turn) * math.sqrt(turn.cores)


def _steal_bound_ns(turn: Turn) -> float:
    return STOLEN_CORE * turn.wall_ns * turn.cores + _steps_ns(turn)


def _steps_ns(turn: Turn) -> float:
    """What counters that move in steps may be wrong by over a turn."""
    return COUNTER_STEPS_NS * math.sqrt(max(1.0, len(turn.parts) / SLICES_WITHIN_STEPS))


def _share(ns: int | None, turn: Turn) -> float:
    return (ns or 0) / turn.wall_ns


def _believable(turns: Sequence[Turn]) -> bool:
    """Whether the counters of the cores show at least what the cell itself did on them."""
    both = [(t.busy_ns, t.cpu_ns, t.cores) for t in turns if t.foreign_ns is not None]
    busy = sum(busy or 0 for busy, _, _ in both)
    own = sum(cpu or 0 for _, cpu, _ in both)
    rounding = sum(COUNTER_STEPS_NS * math.sqrt(cores) for _, _, cores in both)
    return busy + rounding >= BELIEVABLE * own


def _idle_shares(turns: Sequence[Turn]) -> list[float]:
    """The part of a core that it used between two turns of its own."""
    shares = []
    for before, turn in pairwise(turns):
        idle_ns = turn.start_ns - before.end_ns if turn.idle_ns is None else turn.idle_ns
        if turn.idle_cpu_ns is not None and idle_ns >= SHORTEST_WAIT_NS:
            shares.append(turn.idle_cpu_ns / idle_ns)
    return shares
