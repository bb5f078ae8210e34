"""What is left to do: resuming, past failures, times beside the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cells import CELL

from harness.execution import attempts
from harness.execution.attempts import Failure
from harness.execution.standing import PastSession, Standing, look, remaining
from harness.plan.cells import Cell
from harness.plan.groups import make_groups

LIMITS = {"timeout_seconds": 9.0, "memory_mib": 100.0, "output_bytes": 1000.0}


def cells(number: int) -> list[Cell]:
    return [replace(CELL, environment=f"e{i}", environment_identity=f"i{i}") for i in range(number)]


def standing(done: list[Cell], *sessions: PastSession) -> Standing:
    return Standing(frozenset(c.key for c in done), {}, sessions)


def test_nothing_is_left_of_a_finished_group() -> None:
    a, b = cells(2)
    [group] = make_groups([a, b], baseline=None, timed=True, control=True)
    keys = frozenset(c.key for c in group.cells)
    session = PastSession("s", keys, a.key, a.again(1).key, 16)
    assert remaining([group], standing(list(group.cells), session), 16) == []
    [more] = remaining([group], standing(list(group.cells), session), 20)
    assert more.unanswered == frozenset()
    assert len(more.members) == 3


def test_a_new_cell_is_timed_again_together_with_its_reference() -> None:
    a, b, c = cells(3)
    [group] = make_groups([a, b, c], baseline=None, timed=True, control=True)
    timed = frozenset([a.key, b.key, a.again(1).key])
    session = PastSession("s", timed, a.key, a.again(1).key, 16)
    [work] = remaining([group], standing([a, b, a.again(1)], session), 16)
    assert [m.environment for m in work.members] == ["e0", "e0", "e2"]
    assert work.unanswered == {c.key}


def test_without_timing_only_missing_answers_are_left() -> None:
    a, b = cells(2)
    [group] = make_groups([a, b], baseline=None, timed=False, control=True)
    [work] = remaining([group], standing([a]), 16)
    assert [m.key for m in work.members] == [b.key]
    assert not work.timed


def test_failures_stay_unless_they_were_transient_or_a_retry_is_asked_for(tmp_path: Path) -> None:
    a, b = cells(2)
    attempts.keep(tmp_path, Failure(a.key, "unsupported", "no"), a.record(), None)
    attempts.keep(tmp_path, Failure(b.key, "environment", "offline"), b.record(), None)
    assert set(look(tmp_path, [a, b], retry=False, limits=LIMITS).failed) == {a.key}
    assert look(tmp_path, [a, b], retry=True, limits=LIMITS).failed == {}
    last = attempts.last(tmp_path, a.key)
    assert last is not None
    assert last.message == "no"


def test_a_timeout_is_tried_again_only_under_a_longer_limit(tmp_path: Path) -> None:
    [a] = cells(1)
    attempts.keep(tmp_path, Failure(a.key, "timeout", "slow", limits=LIMITS), a.record(), None)
    assert set(look(tmp_path, [a], retry=False, limits=LIMITS).failed) == {a.key}
    longer = {**LIMITS, "timeout_seconds": 10.0}
    assert look(tmp_path, [a], retry=False, limits=longer).failed == {}


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("timeout", "timeout_seconds"),
        ("out-of-memory", "memory_mib"),
        ("output-limit", "output_bytes"),
    ],
)
def test_what_failed_for_a_limit_is_tried_again_with_a_larger_one_only(
    kind: str, limit: str
) -> None:
    failure = Failure("k", kind, "said", limits=LIMITS)
    assert failure.lasts(LIMITS)
    assert failure.lasts({**LIMITS, limit: LIMITS[limit] - 1})
    assert not failure.lasts({**LIMITS, limit: LIMITS[limit] + 1})
    others = {name: value + 1 for name, value in LIMITS.items() if name != limit}
    assert failure.lasts({**LIMITS, **others})


@pytest.mark.parametrize("kind", ["environment", "engine", "disk-full", "wrong-device"])
def test_what_failed_for_the_moment_is_tried_again(kind: str) -> None:
    assert not Failure("k", kind, "said", limits=LIMITS).lasts(LIMITS)


def test_a_finished_cell_is_opened_again_for_what_its_backend_compiles() -> None:
    [cell] = cells(1)
    groups = make_groups([cell], baseline=None, timed=False, control=False)
    done = standing([cell])
    assert remaining(groups, done, 16) == []
    [work] = remaining(groups, done, 16, lambda _: False)
    assert (work.unkept, work.unanswered, work.timed) == ({cell.key}, frozenset(), False)


def test_a_compile_that_took_too_long_is_tried_again_under_a_longer_limit_for_it_alone() -> None:
    failure = Failure("k", "timeout", "said", limits={"compile_seconds": 5.0})
    assert failure.lasts({**LIMITS, "compile_seconds": 5.0})
    assert failure.lasts({**LIMITS, "compile_seconds": 5.0, "timeout_seconds": 99.0})
    assert not failure.lasts({**LIMITS, "compile_seconds": 6.0})
    answering = Failure("k", "timeout", "said", limits=LIMITS)
    assert answering.lasts({**LIMITS, "compile_seconds": 99.0})


def test_a_finished_cell_is_opened_again_to_say_what_it_was_compiled_to() -> None:
    a, b = cells(2)
    groups = make_groups([a, b], baseline=None, timed=False, control=False)
    [work] = remaining(groups, standing([a]), 16, has_form=lambda _: False)
    assert (work.unproved, work.unanswered) == ({a.key}, {b.key})
    assert remaining(groups, standing([a, b]), 16, has_form=lambda _: True) == []


def judged(kinds: dict[str, set[str]], *cells: Cell, **more: Any) -> PastSession:
    """A session of these cells, the first the reference, with reasons against some."""
    against = {cell.key: frozenset(kinds.get(cell.environment, set())) for cell in cells}
    keys = frozenset(against)
    return PastSession("s", keys, cells[0].key, None, **{"rounds": 16, "against": against, **more})


def left(cells: list[Cell], *sessions: PastSession, **more: Any) -> list[str]:
    """The environments of the cells that are to be timed."""
    [group] = make_groups(cells, baseline=None, timed=True, control=False)
    works = remaining([group], standing(cells, *sessions), 16, **more)
    return [cell.environment for work in works for cell in work.members]


def test_times_that_are_invalid_for_a_reason_of_the_moment_are_taken_again_once() -> None:
    both = cells(2)
    bad = judged({"e1": {"busy-machine"}}, *both)
    assert left(both, bad) == ["e0", "e1"]
    assert left(both, bad, bad) == []
    assert left(both, bad, bad, retry=True) == ["e0", "e1"]
    assert left(both, bad, bad, judged({}, *both), retry=True) == []


def test_a_reference_that_is_invalid_takes_all_with_it() -> None:
    three = cells(3)
    assert left(three, judged({"e0": {"drift"}}, *three)) == ["e0", "e1", "e2"]
    assert left(three, judged({"e2": {"drift"}}, *three)) == ["e0", "e2"]


@pytest.mark.parametrize("kind", ["too-few-rounds", "too-few-samples", "unequal-outputs"])
def test_what_another_try_would_not_mend_is_not_tried_again_unasked(kind: str) -> None:
    both = cells(2)
    bad = judged({"e0": {kind}, "e1": {kind}}, *both)
    assert left(both, bad) == []
    assert left(both, bad, retry=True) == ["e0", "e1"]


def test_a_session_that_lost_its_reference_counts_for_nobody() -> None:
    a, b = cells(2)
    lost = replace(judged({}, a, b), members=frozenset([b.key]))
    assert left([a, b], lost) == ["e0", "e1"]


def test_fresh_processes_count_for_all_and_others_not_for_them() -> None:
    a, b = cells(2)
    keys = frozenset([a.key, b.key])
    same = PastSession("s", keys, a.key, None, 16)
    fresh = PastSession("f", keys, a.key, None, 16, fresh=True)
    assert left([a, b], same) == left([a, b], fresh) == left([a, b], fresh, fresh=True) == []
    assert left([a, b], same, fresh=True) == ["e0", "e1"]


def test_scenarios_and_lists_of_batches_are_timed_apart() -> None:
    both = cells(2)
    stream, offline = make_groups(
        both,
        baseline=None,
        timed=True,
        control=False,
        scenarios=("single_stream", "offline"),
    )
    done = judged({}, *both)

    def wanted(*sessions: PastSession, batches: tuple[int, ...] | None = None) -> list[str | None]:
        known = standing(both, *sessions)
        works = remaining([stream, offline], known, 16, batches=batches)
        return [work.group.scenario for work in works]

    assert wanted(done) == ["offline"]
    found = replace(done, scenario="offline")
    assert wanted(done, found) == []
    assert wanted(done, found, batches=(1, 8)) == ["offline"]
    assert wanted(done, replace(found, batches=(1, 8)), batches=(1, 8)) == []
