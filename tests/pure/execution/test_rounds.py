"""The order of rounds and their size."""

from __future__ import annotations

from collections import Counter

from harness.execution.rounds import (
    MOST_ITERATIONS,
    MOST_SAMPLES,
    balanced_order,
    floor_over,
    iterations_for,
    typical_ns,
)

MS = 1_000_000


def test_every_second_round_runs_backwards_and_all_places_are_shared() -> None:
    orders = balanced_order(4, 16)
    assert orders[0] == [0, 1, 2, 3]
    for forward, backward in zip(orders[::2], orders[1::2], strict=True):
        assert backward == forward[::-1]
    for member in range(4):
        places = Counter(order.index(member) for order in orders)
        assert set(places.values()) == {4}


def test_the_floor_of_a_mean_shrinks_as_its_error_does() -> None:
    assert floor_over(0.01, 1) == 0.01
    assert floor_over(0.01, 16) == 0.0025


def test_a_round_is_filled_but_never_empty() -> None:
    assert iterations_for([10 * MS] * 10, 250 * MS) == 25
    assert iterations_for([900 * MS, 7_000 * MS], 250 * MS) == 1
    assert iterations_for([1], 250 * MS) == MOST_ITERATIONS
    assert iterations_for([], 250 * MS) == 1


def test_rounds_are_lengthened_for_enough_queries_and_enough_time() -> None:
    slow = [100 * MS] * 4
    assert iterations_for(slow, 250 * MS, rounds=16) == 2
    assert iterations_for(slow, 250 * MS, rounds=16, min_iterations=100) == 7
    assert iterations_for(slow, 250 * MS, rounds=16, min_ns=8_000 * MS) == 5
    assert iterations_for([], 250 * MS, rounds=16, min_iterations=100) == 7


def test_what_takes_a_microsecond_is_timed_a_million_times_at_most() -> None:
    found = iterations_for([1_000], 250 * MS, rounds=16, min_ns=60_000 * MS)
    assert found * 16 == MOST_SAMPLES
    assert iterations_for([1_000], 250 * MS, rounds=1000) * 1000 == MOST_SAMPLES


def test_what_an_iteration_takes_is_judged_by_the_second_half_of_the_warm_up() -> None:
    assert typical_ns([9, 9, 9, 2, 3, 4]) == 3
    assert typical_ns([]) == 1
    assert typical_ns([0, 0]) == 1
