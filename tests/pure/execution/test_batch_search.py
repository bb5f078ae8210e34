"""Which batch offline tries next, and which it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.execution.batch_search import LARGEST, LONGEST_CALL_NS, Tried, best_batch, next_batch


def search(
    per_second: Callable[[int], float | None],
    given: tuple[int, ...] | None = None,
    own: int = 1,
) -> list[Tried]:
    tried: list[Tried] = []
    while (batch := next_batch(tried, given, own)) is not None:
        found = per_second(batch)
        refused = "too large" if found is None else None
        tried.append(Tried(batch, found, None if found is None else batch * 1e9 / found, refused))
    return tried


def batches(tried: list[Tried]) -> list[int]:
    return [one.batch for one in tried]


def test_doubling_ends_after_two_steps_without_a_gain() -> None:
    tried = search(lambda batch: 1000.0 * min(batch, 8))
    assert batches(tried) == [1, 2, 4, 8, 16, 32]
    assert best_batch(tried, 0.01) == 8


def test_one_step_without_a_gain_does_not_end_it() -> None:
    tried = search(lambda batch: {1: 100.0, 2: 101.0, 4: 180.0}.get(batch, 200.0))
    assert batches(tried) == [1, 2, 4, 8, 16, 32]
    assert best_batch(tried, 0.01) == 8


def test_what_gets_slower_ends_it_too() -> None:
    tried = search(lambda batch: 100.0 / batch)
    assert batches(tried) == [1, 2, 4]
    assert best_batch(tried, 0.01) == 1


def test_a_fixed_batch_is_said_and_is_the_best() -> None:
    tried = search(lambda batch: 100.0 if batch == 4 else None, own=4)
    assert [one.record() for one in tried] == [
        {"batch": 4, "per_second": 100.0, "call_ns": 4e7},
        {"batch": 8, "refused": "too large"},
    ]
    assert best_batch(tried, 0.01) == 4


def test_a_list_is_tried_whole_whatever_is_refused() -> None:
    tried = search(lambda batch: None if batch == 4 else batch, (2, 4, 16))
    assert batches(tried) == [2, 4, 16]
    assert best_batch(tried, 0.01) == 16


def test_of_batches_that_give_as_much_the_smallest_is_taken() -> None:
    tried = search(lambda batch: {8: 995.0, 16: 1000.0, 32: 996.0}[batch], (8, 16, 32))
    assert best_batch(tried, 0.01) == 8
    assert best_batch(tried, 0.001) == 16


def test_where_nothing_ran_there_is_no_best() -> None:
    tried = search(lambda _: None)
    assert batches(tried) == [1]
    assert best_batch(tried, 0.01) is None


def test_doubling_ends_at_the_largest_batch_and_at_calls_that_take_too_long() -> None:
    assert batches(search(float))[-1] < LONGEST_CALL_NS / 1e9 * LARGEST
    assert next_batch([Tried(LARGEST, 1.0, 1.0)], None, 1) is None
    assert next_batch([Tried(8, 1.0, LONGEST_CALL_NS + 1)], None, 1) is None
    assert next_batch([Tried(8, 1.0, LONGEST_CALL_NS)], None, 1) == 16


@pytest.mark.parametrize("own", [1, 8])
def test_doubling_begins_at_the_cells_own_batch(own: int) -> None:
    assert next_batch([], None, own) == own
