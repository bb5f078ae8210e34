"""The order of rounds and their size."""

from __future__ import annotations

from collections import Counter

from harness.execution.rounds import (
    MOST_ITERATIONS,
    MOST_SAMPLES,
    balanced_order,
    floor_over,
    interleaved,
    iterations_for,
    slices_for,
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


def test_a_round_goes_over_its_members_to_and_fro_in_short_turns() -> None:
    quick = (50, 5.0 * MS)
    assert interleaved([quick, quick], cut=True)[:4] == [(0, 5), (1, 5), (1, 5), (0, 5)]
    assert len(interleaved([quick, quick], cut=True)) == 2 * 10
    # Calls of a tenth of a second: five of them are long enough, and three are not cut.
    assert interleaved([(3, 100.0 * MS)] * 2, cut=True) == [(0, 3), (1, 3)]
    # Microseconds: a turn is as long as others.
    assert interleaved([(10_000, 0.01 * MS)] * 2, cut=True)[0] == (0, 2500)


def test_of_members_of_unlike_length_each_makes_all_its_calls_in_few_or_many_turns() -> None:
    members = [(50, 5.0 * MS), (3, 100.0 * MS), (17, 15.0 * MS)]
    turns = interleaved(members, cut=True)
    for place, (iterations, each_ns) in enumerate(members):
        mine = [calls for at, calls in turns if at == place]
        assert sum(mine) == iterations
        assert len(mine) == slices_for(iterations, each_ns)
        assert max(mine) - min(mine) <= 1


def test_one_alone_and_what_is_not_to_be_cut_have_one_turn() -> None:
    assert interleaved([(50, 5.0 * MS)], cut=True) == [(0, 50)]
    assert interleaved([(50, 5.0 * MS)] * 2, cut=False) == [(0, 50), (1, 50)]
    assert interleaved([], cut=True) == []


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
