"""Who watches the clock: the probe ends in time, and what is left is shared out before each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.cells import CELL

from harness.execution.pacing import left_out, without
from harness.execution.standing import Work
from harness.plan.budget import Cost
from harness.plan.build import Plan
from harness.plan.cells import Cell
from harness.plan.groups import make_groups
from harness.spec.timing import Timing
from harness.studies.budget_pace import Governor, ProbePace

TIMING = Timing()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def cells(number: int) -> list[Cell]:
    return [replace(CELL, environment=f"e{i}", environment_identity=f"i{i}") for i in range(number)]


def works(some: Sequence[Cell], at_once: int = 4) -> list[Work]:
    groups = make_groups(some, baseline=None, timed=True, control=True, at_once=at_once)
    return [Work(g, g.cells, frozenset(c.key for c in g.cells), timed=True) for g in groups]


def governor(clock: Clock, some: Sequence[Cell], until: float, image_s: float = 0.01) -> Governor:
    costs = {cell.twin: Cost(1.0, image_s) for cell in some}
    return Governor(
        clock,
        until,
        costs=costs,
        images=100,
        timing=TIMING,
        cut={},
        more=lambda: {"budget": {"seconds": 1}},
    )


def test_a_probe_looks_at_one_cell_in_any_case_and_at_none_when_its_time_is_over() -> None:
    clock = Clock()
    pace = ProbePace(clock, until=10)
    first, second = works(cells(3), at_once=1)
    clock.seconds = 99
    assert not pace.before(first, [second]).left_out
    assert set(pace.before(second, []).left_out) == {c.key for c in second.members}


def test_a_probe_goes_on_while_there_is_time() -> None:
    pace = ProbePace(Clock(), until=10)
    assert not any(pace.before(work, []).left_out for work in works(cells(3), at_once=1))


def test_with_time_enough_cells_are_timed_as_asked() -> None:
    some = cells(3)
    pace = governor(Clock(), some, until=9999)
    [work] = works(some)
    order = pace.before(work, [])
    assert order.timing == TIMING
    assert not order.left_out


def test_with_less_time_rounds_are_shorter_and_nobody_is_left_out() -> None:
    some = cells(3)
    pace = governor(Clock(), some, until=25)
    [work] = works(some)
    order = pace.before(work, [])
    assert order.timing is not None
    assert order.timing.min_seconds < TIMING.min_seconds
    assert not order.left_out
    pace.after(work)
    assert pace.shares[0] < 1


def test_time_left_over_goes_to_the_groups_that_follow() -> None:
    some = cells(5)
    clock = Clock()
    pace = governor(clock, some, until=35)
    one, two = works(some)
    tight = pace.before(one, [two]).timing
    pace.after(one)  # it took no time at all
    roomy = pace.before(two, []).timing
    assert tight is not None
    assert roomy is not None
    assert roomy.min_seconds > tight.min_seconds


def test_what_takes_longer_than_foreseen_makes_the_rest_shorter() -> None:
    some = cells(9)
    shares = []
    for late in (0.0, 25.0):
        clock = Clock()
        pace = governor(clock, some, until=70)
        one, two, *_ = works(some)
        pace.before(one, [two])
        clock.seconds += 20 + late
        pace.after(one)
        pace.before(two, [])
        pace.after(two)
        shares.append(pace.shares[-1])
    assert shares[1] < shares[0]


def test_where_nothing_fits_the_slowest_goes_and_what_others_are_compared_with_stays() -> None:
    some = cells(3)
    pace = governor(Clock(), some, until=25)
    [work] = works(some)
    slow = some[2]
    pace._costs = {**pace._costs, slow.twin: Cost(300.0, 0.01)}
    order = pace.before(work, [])
    assert set(order.left_out) == {slow.key}
    assert "5.1 min" in order.left_out[slow.key]
    assert pace.late == set(order.left_out)
    assert pace.record() == {"budget": {"seconds": 1}}


def test_with_no_time_at_all_the_reference_still_runs() -> None:
    some = cells(3)
    pace = governor(Clock(), some, until=0)
    [work] = works(some)
    assert set(pace.before(work, []).left_out) == {some[1].key, some[2].key}


def test_what_was_cut_from_the_beginning_is_skipped_with_its_reason() -> None:
    some = cells(2)
    pace = governor(Clock(), some, until=10)
    pace._cut = {some[1].twin: "it would take 3 h"}
    plan = pace.arranged(Plan(tuple(some), (), ()))
    assert plan.cells == (some[0],)
    [skipped] = plan.skipped
    assert skipped.reason == f"{some[1].label}: left out, it would take 3 h"


def test_a_group_without_its_reference_has_no_control_alone() -> None:
    [group] = make_groups(cells(1), baseline=None, timed=True, control=True)
    assert without(group, {group.cells[0].key}) is None
    kept = without(group, {group.cells[1].key})
    assert kept is not None
    assert kept.control is None


def test_a_plan_without_cells_lists_them() -> None:
    some = cells(2)
    plan = left_out(Plan(tuple(some), (), ()), {some[0].key: "because"})
    assert [c.environment for c in plan.cells] == ["e1"]
    assert plan.skipped[0].environment == "e0"


@pytest.mark.parametrize("images", [50, 400])
def test_more_images_leave_less_time_for_timing(images: int) -> None:
    some = cells(2)
    costs = {cell.twin: Cost(1.0, 0.05) for cell in some}
    pace = Governor(Clock(), 86, costs=costs, images=images, timing=TIMING, cut={}, more=dict)
    [work] = works(some)
    pace.before(work, [])
    pace.after(work)
    assert (pace.shares[0] == 1) == (images == 50)


def test_without_timing_what_others_are_compared_with_is_left_out_as_little() -> None:
    some = cells(3)
    pace = governor(Clock(), some, until=0)
    plan = pace.arranged(Plan(tuple(some), (), (), baseline="e1"))
    groups = make_groups(plan.cells, baseline="e1", timed=False, control=False)
    [work] = [Work(g, g.cells, frozenset(c.key for c in g.cells), timed=False) for g in groups]
    assert set(pace.before(work, []).left_out) == {some[0].key, some[2].key}


def test_a_cell_that_the_probe_never_saw_is_guessed_from_the_others() -> None:
    some = cells(2)
    pace = governor(Clock(), some[:1], until=9999)
    pace.arranged(Plan(tuple(some), (), ()))
    [work] = works(some)
    assert not pace.before(work, []).left_out


def test_what_a_later_group_cannot_do_is_settled_when_it_comes() -> None:
    some = cells(9)
    clock = Clock()
    pace = governor(clock, some, until=45)
    one, *later = works(some)
    assert not pace.before(one, later).left_out or pace.late <= {c.key for c in one.members}
    pace.after(one)  # it took no time at all
    assert not any(pace.before(two, []).left_out for two in later[:1])


def test_a_probe_takes_each_kind_once_before_any_twice() -> None:
    some = [replace(CELL, threads=threads, model=model) for model in "ab" for threads in (1, 2)]
    groups = [work for cell in some for work in works([cell], at_once=1)]
    pace = ProbePace(Clock(), until=10)
    order = [work.members[0] for work in pace.in_order(groups)]
    assert [(cell.model, cell.threads) for cell in order[:2]] == [("a", 1), ("b", 1)]
