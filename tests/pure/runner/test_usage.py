"""What a process uses, by files that are made up and by its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runner import usage


def threads(folder: Path, **schedstat: str) -> str:
    """A folder like `/proc/self/task`."""
    for name, text in schedstat.items():
        (folder / name).mkdir()
        (folder / name / "schedstat").write_text(text)
    return str(folder)


def test_what_each_thread_waited_is_the_second_field(tmp_path: Path) -> None:
    folder = threads(tmp_path, t10="500 70 3\n", t11="0 0 0\n")
    assert usage.waiting(folder) == {"t10": 70, "t11": 0}


def test_a_thread_that_has_just_ended_is_left_out(tmp_path: Path) -> None:
    folder = threads(tmp_path, t10="500 70 3\n", t11="")
    (tmp_path / "t12").mkdir()
    assert usage.waiting(folder) == {"t10": 70}


@pytest.mark.parametrize("text", [None, "0 0 0\n"])
def test_a_kernel_that_does_not_count_is_no_zero(tmp_path: Path, text: str | None) -> None:
    folder = threads(tmp_path, **({} if text is None else {"t10": text, "t11": text}))
    assert usage.waiting(folder) is None
    assert usage.waiting(str(tmp_path / "absent")) is None


@pytest.mark.parametrize(
    ("before", "after", "waited"),
    [
        ({"1": 10, "2": 5}, {"1": 40, "2": 5}, 30),
        ({"1": 10}, {"1": 10, "2": 7}, 7),
        ({"1": 10, "2": 500}, {"1": 11}, 1),
        ({"1": 100}, {"1": 3}, 3),
        (None, {"1": 3}, None),
        ({"1": 3}, None, None),
    ],
    ids=["more", "a-thread-began", "a-thread-ended", "a-number-given-again", "unknown", "unknown"],
)
def test_waiting_between_two_moments(
    before: dict[str, int] | None, after: dict[str, int] | None, waited: int | None
) -> None:
    assert usage.waited_between(before, after) == waited


def test_processor_time_is_told_for_the_command_and_for_the_time_before_it() -> None:
    at_rest = time.process_time_ns()
    _burn(3_000_000)
    before = usage.read()
    _burn(20_000_000)
    told = usage.used(before, at_rest)
    assert told["cpu_ns"] >= 20_000_000
    assert 3_000_000 <= told["cpu_ns_since_last"] < told["cpu_ns"]
    assert set(told) == {"cpu_ns", "cpu_ns_since_last", "wait_ns", "rss_mib", "peak_rss_mib"}


def test_memory_is_a_plausible_number_and_the_peak_no_less() -> None:
    assert 5 < usage.rss_mib() < 100_000
    block = bytearray(b"x" * (64 << 20))
    with_block = usage.rss_mib()
    del block
    assert usage.peak_rss_mib() >= with_block - 1


def test_the_peak_is_read_from_the_status(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t9999 kB\nVmHWM:\t  2048 kB\n")
    assert usage.peak_rss_mib(str(tmp_path / "status")) == 2
    assert usage.peak_rss_mib(str(tmp_path / "absent")) > 5


def _burn(cpu_ns: int) -> None:
    ends = time.process_time_ns() + cpu_ns
    while time.process_time_ns() < ends:
        pass
