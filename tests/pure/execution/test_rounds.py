"""The order of rounds and their size."""

from __future__ import annotations

from collections import Counter

from harness.execution.rounds import balanced_order, iterations_for


def test_every_second_round_runs_backwards_and_all_places_are_shared() -> None:
    orders = balanced_order(4, 16)
    assert orders[0] == [0, 1, 2, 3]
    for forward, backward in zip(orders[::2], orders[1::2], strict=True):
        assert backward == forward[::-1]
    for member in range(4):
        places = Counter(order.index(member) for order in orders)
        assert set(places.values()) == {4}


def test_a_round_is_filled_but_never_empty() -> None:
    assert iterations_for([10_000_000] * 10, 250_000_000) == 25
    assert iterations_for([900_000_000, 7_000_000_000], 250_000_000) == 1
    assert iterations_for([1], 250_000_000) == 10_000
    assert iterations_for([], 250_000_000) == 1
