"""What `XLA_FLAGS` says: read, and passes in it that XLA would ignore refused."""

from __future__ import annotations

import pytest

from runner.errors import RunnerError
from runner.support import xla_flags, xla_library


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """An XLA that knows two passes and two flags."""
    monkeypatch.setattr(
        xla_library, "holds", lambda _, names: frozenset(names) & {"algsimp", "fusion"}
    )
    monkeypatch.setattr(xla_library, "flags", lambda _: ("xla_dump_to", "xla_cpu_max_isa"))


def test_flags_are_read_with_and_without_values() -> None:
    told = xla_flags.parsed("--xla_a=1 --xla_b --xla_c=d=e")
    assert told == {"xla_a": "1", "xla_b": "true", "xla_c": "d=e"}


def test_passes_that_xla_knows_may_be_left_out_by_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_disable_hlo_passes=algsimp,fusion")
    xla_flags.check_passes("tensorflow.xla", "tensorflow")
    monkeypatch.delenv("XLA_FLAGS")
    xla_flags.check_passes("tensorflow.xla", "tensorflow")


@pytest.mark.parametrize("flag", ["xla_disable_hlo_passes", "xla_enable_hlo_passes_only"])
def test_a_pass_that_xla_would_ignore_is_refused_with_near_names(
    monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setenv("XLA_FLAGS", f"--{flag}=fusion,algsim")
    with pytest.raises(RunnerError, match=r"'algsim'; did you mean algsimp") as caught:
        xla_flags.check_passes("tensorflow.xla", "tensorflow")
    assert caught.value.kind == "unsupported"


def test_flags_that_would_end_the_process_are_left_away() -> None:
    options = {"xla_dump_to": "/f", "xla_dump_disable_metadata": True}
    assert xla_flags.known("tensorflow", options) == {"xla_dump_to": "/f"}
