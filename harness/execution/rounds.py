"""The order and the size of interleaved rounds: pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


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


def iterations_for(durations_ns: Sequence[int], round_ns: int, most: int = 10_000) -> int:
    """How many iterations fill a round of about `round_ns`, judged by a warm-up's second half."""
    if not durations_ns:
        return 1
    settled = durations_ns[len(durations_ns) // 2 :]
    typical = max(1.0, statistics.median(settled))
    return max(1, min(most, round(round_ns / typical)))
