"""Lengths of time are read as a person writes them; anything else is refused."""

from __future__ import annotations

import pytest

from harness.cli.durations import read_duration
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), (" 2 H ", 7200)],
)
def test_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert read_duration("--budget", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "0s", "-5m", "ten minutes", "1d", "5m2h", "9" * 400 + "h"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="no length of time") as refused:
        read_duration("--budget", text)
    assert "10m" in str(refused.value.remedy)
