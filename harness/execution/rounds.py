"""The order and the size of interleaved rounds: pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

MOST_ITERATIONS = 10_000
"""In a round, where nothing asks for more: what takes microseconds is known well enough by then."""

MOST_SAMPLES = 1_000_000
"""Over all rounds, however long a cell is to be timed: two seconds of microseconds say no more."""


SLICE_NS = 25_000_000
"""About how long a cell's turn in a round is before the next cell's. A processor that is shared with
other machines changes its speed within tenths of a second: on one that did, rounds of a quarter of a
second in one piece varied by 6 %, and by 3 % in pieces of this length."""

SLICE_CALLS = 5
"""A slice has at least so many calls, and a fifth as many before it that are not recorded."""

MOST_SLICES = 10
"""Of one cell in one round: more would say little more."""


def interleaved(members: Sequence[tuple[int, float]], *, cut: bool) -> list[tuple[int, int]]:
    """Who is timed one after the other within a round, and with how many calls.

    A round goes over its members several times, every second time backwards, so that what is
    compared is close in time. One with few long calls takes part in some of the passes only.

    Args:
        members: calls in the round and nanoseconds a call, of each member in the round's order.
        cut: whether rounds are cut at all. A GPU's are not: its clocks are its own, and its energy
            counter moves too seldom for short turns. Nor is that of a member that is alone.

    Returns:
        Places in `members`, each with the calls of one turn; all turns of a member together have
        as many calls as it has in the round.
    """
    several = cut and len(members) > 1
    slices = [slices_for(*member) if several else 1 for member in members]
    passes = max(slices, default=1)
    shares = [
        _shares(iterations, count, passes)
        for (iterations, _), count in zip(members, slices, strict=True)
    ]
    places = range(len(members))
    return [
        (place, shares[place][number])
        for number in range(passes)
        for place in (places if number % 2 == 0 else reversed(places))
        if shares[place][number]
    ]


def slices_for(iterations: int, typical_ns: float) -> int:
    """Into how many turns a cell's part of a round is cut.

    Args:
        iterations: calls in the round.
        typical_ns: what a call takes.
    """
    calls = max(SLICE_CALLS, math.ceil(SLICE_NS / typical_ns))
    return max(1, min(MOST_SLICES, iterations // calls))


def _shares(iterations: int, slices: int, passes: int) -> list[int]:
    """The calls of one member in each pass: as even as can be, and none in those it sits out."""
    ends = [(number + 1) * slices // passes * iterations // slices for number in range(passes)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def balanced_order(members: int, rounds: int) -> list[list[int]]:
    """Who is timed when: A B C, C B A, B C A, A C B, and so on.

    Every second round is the one before it backwards, so that a drift over time falls on all
    alike, and every pair of rounds starts one member further, so that none is always first.
    """
    orders: list[list[int]] = []
    for number in range(rounds):
        start = (number // 2) % members if members else 0
        forward = [(start + i) % members for i in range(members)]
        orders.append(forward if number % 2 == 0 else forward[::-1])
    return orders


def floor_over(floor: float, processes: int) -> float:
    """The relative difference below which nothing is claimed of means over so many processes.

    `floor` is what one process differs by from another of the same cell for as long as it lives.
    Over several that are drawn independently it shrinks as the error of any mean does.
    """
    return floor / math.sqrt(processes)


def typical_ns(durations_ns: Sequence[int]) -> float:
    """What an iteration takes: the median of a warm-up's second half, at least 1 ns."""
    if not durations_ns:
        return 1.0
    return max(1.0, statistics.median(durations_ns[len(durations_ns) // 2 :]))


def iterations_for(
    durations_ns: Sequence[int],
    round_ns: int,
    *,
    rounds: int = 1,
    min_iterations: int = 1,
    min_ns: int = 0,
) -> int:
    """How many iterations a round has, judged by a warm-up.

    It fills `round_ns`, with no more than `MOST_ITERATIONS`, and `MOST_SAMPLES` in all; and it is
    longer where all rounds together would fall short of what is asked for.

    Args:
        durations_ns: of the warm-up.
        round_ns: about how long a round is to take.
        rounds: how many there are.
        min_iterations: over all rounds, at least.
        min_ns: how long all rounds together take, at least.
    """
    if not durations_ns:
        return max(1, math.ceil(min_iterations / rounds))
    typical = typical_ns(durations_ns)
    most = MOST_SAMPLES // rounds
    filling = min(MOST_ITERATIONS, most, round(round_ns / typical))
    enough = math.ceil(min_iterations / rounds)
    long_enough = min(most, math.ceil(min_ns / rounds / typical))
    return max(1, filling, enough, long_enough)
