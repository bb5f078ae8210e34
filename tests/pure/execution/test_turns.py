"""Warming up, idle waiting, and one round of one member."""

from __future__ import annotations

import pytest
from support.fake_workers import Clock, FakeWorker, member

from harness.errors import ExecutionError
from harness.execution.energy import EnergyMark
from harness.execution.machine_samples import CoreTimes
from harness.execution.turns import (
    Asked,
    Gauges,
    idle_share,
    look_at_idling,
    note_idling,
    take_turn,
    warm_up,
    whole_turn,
)

ASKED = Asked(rounds=16, round_ns=10_000_000, min_ns=320_000_000, min_queries=100)


def gauges(clock: Clock) -> Gauges:
    return Gauges(
        now_ns=clock.read,
        core_times=lambda: CoreTimes(clock.now_ns // 2, clock.now_ns // 10),
        energy=lambda: EnergyMark(clock.now_ns, {}),
    )


def test_a_warm_up_says_how_long_rounds_are() -> None:
    clock = Clock()
    one = member("a", FakeWorker(clock))
    warm_up(one, ASKED, 9, clock.read)
    assert one.iterations == 20  # 320 ms in 16 rounds
    assert (one.typical_ns, one.rested_ns) == (1_000_000, 3_000_000)
    assert one.warmup["steady"]
    assert one.peak_rss_mib == 20


def test_of_offline_every_input_of_a_batch_is_a_query() -> None:
    asked = Asked(rounds=16, round_ns=1, min_queries=1000, offline=True)
    assert asked.min_iterations(64) == 16
    assert Asked(rounds=16, round_ns=1, min_queries=1000).min_iterations(64) == 1000


def test_a_turn_records_what_was_used_meanwhile_and_counts_all_queries() -> None:
    clock = Clock()
    one = member("a", FakeWorker(clock), batch=4, iterations=10)
    clock.sleep(1)
    turn = take_turn(one, 3, one.iterations, 9, gauges(clock))
    assert turn.durations_ns == [1_000_000] * 10
    assert turn.record == {
        "key": "a",
        "round": 3,
        "start_ns": 1_000_000_000,
        "end_ns": 1_012_000_000,
        "cpu_ns": 12_000_000,
        "wait_ns": 0,
        "idle_cpu_ns": 0,
        "idle_ns": 1_000_000_000,
        "busy_ns": 6_000_000,
        "steal_ns": 1_200_000,
        "frozen": False,
    }
    assert turn.queries == 12 * 4
    [(before, after)] = turn.spans
    assert after.t_ns - before.t_ns == 12_000_000


def test_the_slices_of_a_round_are_one_turn() -> None:
    clock = Clock()
    one = member("a", FakeWorker(clock))
    slices = []
    for calls in (5, 10):
        clock.sleep(0.05)
        slices.append(take_turn(one, 2, calls, 9, gauges(clock)))
    turn = whole_turn(slices)
    assert turn.durations_ns == [1_000_000] * 15
    assert turn.record == {
        "key": "a",
        "round": 2,
        "start_ns": 50_000_000,
        "end_ns": 118_000_000,
        "slices": [[50_000_000, 56_000_000], [106_000_000, 118_000_000]],
        "cpu_ns": 18_000_000,
        "wait_ns": 0,
        "idle_cpu_ns": 0,
        "idle_ns": 100_000_000,
        "busy_ns": 9_000_000,
        "steal_ns": 1_800_000,
        "frozen": False,
    }
    assert turn.queries == 18
    assert len(turn.spans) == 2
    slices[0].record["busy_ns"] = None
    assert whole_turn(slices).record["busy_ns"] is None


def test_where_the_kernel_shows_no_cores_their_times_are_absent() -> None:
    clock = Clock()
    blind = Gauges(clock.read, lambda: None, lambda: EnergyMark(0, {}))
    record = take_turn(member("a", FakeWorker(clock)), 0, 1, 9, blind).record
    assert (record["busy_ns"], record["steal_ns"]) == (None, None)


def test_one_that_spins_is_frozen_while_others_have_their_turn_and_thawed_before_its_own() -> None:
    clock = Clock()
    quiet, spinning = FakeWorker(clock), FakeWorker(clock, idle_share=0.9)
    members = [member("quiet", quiet), member("spinning", spinning)]
    assert look_at_idling(members, 9, clock.read, clock.sleep) == {}
    assert (quiet.frozen, spinning.frozen) == (False, True)
    assert members[1].spinning == pytest.approx(0.9)
    records = []
    for number in range(2):
        for one in members:
            clock.sleep(1)
            records.append(take_turn(one, number, one.iterations, 9, gauges(clock)).record)
    assert [record["frozen"] for record in records] == [False, True, False, True]
    assert [record["idle_cpu_ns"] for record in records] == [0, 0, 0, 0]
    assert spinning.said == [
        "round",
        "freeze",
        "thaw",
        "round",
        "freeze",
        "thaw",
        "round",
        "freeze",
    ]
    assert "freeze" not in quiet.said


def test_one_that_begins_to_spin_later_is_frozen_from_then_on() -> None:
    clock = Clock()
    worker = FakeWorker(clock)
    one = member("a", worker)
    note_idling(one, take_turn(one, 0, one.iterations, 9, gauges(clock)))
    assert not worker.frozen
    worker.idle_share = 0.03
    clock.sleep(1)
    turn = take_turn(one, 1, one.iterations, 9, gauges(clock))
    note_idling(one, turn)
    assert (turn.record["frozen"], worker.frozen) == (False, True)
    assert one.spinning == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("share", "seconds"), [(0.015, 1.0), (0.9, 0.05), (0.1, 0.04)], ids=["little", "brief", "both"]
)
def test_little_and_brief_use_is_no_spinning(share: float, seconds: float) -> None:
    clock = Clock()
    worker = FakeWorker(clock, idle_share=share)
    one = member("a", worker)
    take_turn(one, 0, one.iterations, 9, gauges(clock))
    clock.sleep(seconds)
    note_idling(one, take_turn(one, 1, one.iterations, 9, gauges(clock)))
    assert one.spinning is None
    assert not worker.frozen


def test_telling_many_durations_is_no_spinning() -> None:
    """A reply of a hundred thousand numbers takes milliseconds after the worker has rested."""
    clock = Clock()
    one = member("a", FakeWorker(clock, call_ns=1_000, idle_share=0.06), iterations=100_000)
    take_turn(one, 0, one.iterations, 9, gauges(clock))
    clock.sleep(0.25)
    note_idling(one, take_turn(one, 1, one.iterations, 9, gauges(clock)))
    assert one.spinning is None


def test_where_nothing_can_be_frozen_it_is_noted_once_and_timing_goes_on() -> None:
    clock = Clock()
    one = member("a", FakeWorker(clock, idle_share=0.9, freezes=False))
    for number in range(3):
        clock.sleep(1)
        turn = take_turn(one, number, one.iterations, 9, gauges(clock))
        note_idling(one, turn)
        assert turn.record["frozen"] is False
    assert one.cannot_freeze == "the engine does not pause"


def test_what_fails_while_idling_is_looked_at_is_told_and_the_others_are_looked_at() -> None:
    clock = Clock()
    bad, spinning = FakeWorker(clock, fails_after=0), FakeWorker(clock, idle_share=1)
    members = [member("bad", bad), member("spinning", spinning)]
    failed = look_at_idling(members, 9, clock.read, clock.sleep)
    assert isinstance(failed["bad"], ExecutionError)
    assert spinning.frozen


def test_a_wait_too_short_to_judge_has_no_share() -> None:
    assert idle_share(50, 99_999_999) is None
    assert idle_share(50_000_000, 200_000_000) == 0.25
