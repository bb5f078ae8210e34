"""A sweep is cut to a budget: images and timing together, then whole cells, and no more than needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.cells import CELL

from harness.execution.validity.rounds import FEWEST_QUERIES, FEWEST_ROUNDS
from harness.plan.budget import (
    LEAST_IMAGES,
    LEAST_ROUNDS,
    Asked,
    Choice,
    Cost,
    answering_s,
    choose,
    guess_costs,
    in_words,
    kinds_first,
    largest_share,
    scaled_timing,
    timing_s,
)
from harness.plan.cells import Cell
from harness.plan.feeds import CellInputs
from harness.plan.groups import Group, make_groups
from harness.spec.timing import Timing

TIMING = Timing()


def cells(number: int) -> list[Cell]:
    return [replace(CELL, environment=f"e{i}", environment_identity=f"i{i}") for i in range(number)]


def grouped(some: Sequence[Cell]) -> list[Group]:
    return make_groups(some, baseline=None, timed=True, control=True)


def chosen(
    some: Sequence[Cell], costs: dict[str, Cost], seconds: float, images: int = 1000
) -> Choice:
    return choose(some, grouped, costs, Asked(images, TIMING), seconds, {some[0].twin})


def test_the_same_cell_over_other_images_is_its_twin() -> None:
    other = CellInputs("pixels of fewer", "fewer", "pixels", None, None, raw_quantised=False)
    again = replace(CELL, inputs=other)
    assert again.key != CELL.key
    assert again.twin == CELL.twin == CELL.again(1).twin


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"passes": ["a"]}},
        {"threads": 2},
        {"batch": 4},
        {"model": "other"},
        {"environment_identity": "another lock"},
        {"executor": "docker"},
        {"instruction_set": "avx2"},
    ],
)
def test_what_may_take_another_time_is_no_twin(change: dict[str, object]) -> None:
    assert replace(CELL, **change).twin != CELL.twin  # type: ignore[arg-type]


def test_what_fits_is_not_cut() -> None:
    some = cells(3)
    found = chosen(some, {c.twin: Cost(1, 0.001) for c in some}, seconds=3600)
    assert found.share == 1
    assert found.asked == Asked(1000, TIMING)
    assert not found.left_out


def test_images_and_timing_are_cut_together_until_all_fits_and_hardly_more() -> None:
    some = cells(3)
    costs = {c.twin: Cost(1, 0.05) for c in some}
    found = chosen(some, costs, seconds=120)
    assert not found.left_out
    assert LEAST_IMAGES < found.asked.images < 1000
    assert found.asked.timing.min_seconds < TIMING.min_seconds
    assert 0.9 * 120 < found.seconds <= 120


def test_the_slowest_cells_are_left_out_where_the_least_of_all_does_not_fit() -> None:
    some = cells(4)
    costs = {c.twin: Cost(1, 0.001) for c in some}
    costs[some[2].twin] = Cost(500, 3)
    found = chosen(some, costs, seconds=100)
    assert list(found.left_out) == [some[2].twin]
    assert "15 min" in found.left_out[some[2].twin]
    assert found.seconds <= 100


def test_the_reference_is_never_left_out_however_slow() -> None:
    some = cells(2)
    costs = {some[0].twin: Cost(500, 3), some[1].twin: Cost(1, 0.001)}
    found = chosen(some, costs, seconds=100)
    assert some[0].twin not in found.left_out
    assert found.share == 0
    assert found.seconds > 100  # it is told, not hidden


def test_a_guess_is_called_one() -> None:
    some = cells(2)
    costs = {some[0].twin: Cost(1, 0.001), some[1].twin: Cost(500, 3, guessed=True)}
    assert chosen(some, costs, seconds=60).left_out[some[1].twin].startswith("as cells like it")


def test_few_images_stay_as_few_as_they_were() -> None:
    assert Asked(20, TIMING).scaled(0.0).images == 20
    assert Asked(1000, TIMING).scaled(0.0).images == LEAST_IMAGES


def test_rounds_stay_enough_to_be_believed() -> None:
    least = scaled_timing(TIMING.model_copy(update={"rounds": 200}), 0.0)
    assert least.rounds == LEAST_ROUNDS
    assert scaled_timing(TIMING.model_copy(update={"rounds": 4}), 0.0).rounds == 4
    assert least.min_seconds == 0
    assert least.rounds >= FEWEST_ROUNDS
    assert least.min_queries >= FEWEST_QUERIES
    assert scaled_timing(TIMING, 1.0) == TIMING


def test_answers_are_counted_in_whole_batches() -> None:
    wide = replace(CELL, batch=32)
    costs = {wide.twin: Cost(2.0, 0.5)}
    assert answering_s([wide], costs, 33) == pytest.approx(2 + 64 * 0.5)
    assert answering_s([wide], costs, 0) == pytest.approx(2)


def test_fresh_processes_are_started_in_every_round() -> None:
    costs = {CELL.twin: Cost(3.0, 0.001)}
    fresh = TIMING.model_copy(update={"fresh_processes": True})
    more = timing_s([CELL], costs, fresh) - timing_s([CELL], costs, TIMING)
    assert more >= TIMING.rounds * 3.0


def test_a_slow_cell_is_guessed_from_its_own_backend_and_not_from_the_first() -> None:
    tvm = replace(CELL, backend="tvm", environment="t", level="default", settings={"a": 1})
    tuned = replace(tvm, level="tuned", settings={"a": 2})
    costs = guess_costs([CELL, tvm, tuned], {CELL.twin: Cost(1, 1), tvm.twin: Cost(9, 2)})
    assert costs[tuned.twin] == Cost(9, 2, guessed=True)
    assert not costs[tvm.twin].guessed


def test_nothing_is_guessed_from_nothing() -> None:
    with pytest.raises(ValueError, match="no cell"):
        guess_costs([CELL], {})


def test_each_kind_comes_once_before_any_comes_twice() -> None:
    wide = replace(CELL, batch=2)
    other = replace(CELL, backend="c")
    assert kinds_first([CELL, wide, other]) == [CELL, other, wide]


def test_the_share_is_the_largest_that_fits() -> None:
    assert largest_share(lambda share: 100 * share, 1000) == 1
    assert largest_share(lambda share: 100 * share, 25) == pytest.approx(0.25)
    assert largest_share(lambda share: 100 + share, 25) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (42, "42 s"),
        (90, "90 s"),
        (150, "2.5 min"),
        (180, "3 min"),
        (600, "10 min"),
        (9000, "2.5 h"),
    ],
)
def test_time_is_told_as_a_person_says_it(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


def test_a_cell_in_several_groups_answers_once() -> None:
    some = cells(20)
    costs = {c.twin: Cost(0.1, 1.0) for c in some}
    groups = grouped(some)
    assert len(groups) > 1
    # 21 answerings of 50 images, the control's among them; and timing, which is the least.
    found = chosen(some, costs, seconds=1e9, images=50)
    timed = sum(timing_s(one.cells, costs, TIMING) for one in groups)
    assert found.seconds - timed == pytest.approx(21 * 50, rel=0.02)
