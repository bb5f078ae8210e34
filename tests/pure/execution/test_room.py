"""Whether one more cell fits beside those that are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execution.room import MARGIN, RESERVE_MIB, Memory, Room, free_host_mib


def room(host: list[float], gpu: list[float | None] | None = None) -> Room:
    said = iter(host)
    gpu_said = iter(gpu or [None] * len(host))
    return Room(host_free_mib=lambda: next(said), gpu_free_mib=lambda: next(gpu_said))


def test_what_a_cell_took_is_what_the_next_needs_with_a_margin() -> None:
    need = 1000 * MARGIN + RESERVE_MIB
    for free, fits in ((need, True), (need - 1, False)):
        one = room([5000, 4000, free])
        before = one.free()
        one.note(one.free().since(before))
        assert one.holds_one_more() is fits


def test_the_largest_of_those_loaded_counts() -> None:
    one = room([1700])
    one.note(Memory(1000))
    one.note(Memory(10))
    assert not one.holds_one_more()


def test_a_gpu_that_is_full_holds_no_more_whatever_the_machine_has() -> None:
    one = room([50_000], [700])
    one.note(Memory(10, 400))
    assert not one.holds_one_more()


def test_what_nobody_knows_does_not_hold_anybody_back() -> None:
    assert room([0.0]).holds_one_more()
    assert Memory(None).holds(Memory(10**9))


def test_memory_that_was_given_back_meanwhile_is_not_taken() -> None:
    assert Memory(4000, 10).since(Memory(3000, None)) == Memory(0, None)


@pytest.mark.parametrize(
    ("limit", "used", "cache"),
    [
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_a_control_groups_limit_binds_and_its_cached_files_give_way(
    tmp_path: Path, limit: str, used: str, cache: str
) -> None:
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text(f"{200 << 20}\n")
    (tmp_path / used).write_text(f"{150 << 20}\n")
    (tmp_path / limit).with_name("memory.stat").write_text(f"anon 5\n{cache} {20 << 20}\n")
    assert free_host_mib(tmp_path) == 70
    (tmp_path / limit).write_text("max\n")
    assert free_host_mib(tmp_path) > 70
