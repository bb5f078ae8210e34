"""Lengths of time as a person writes them: 90s, 10m, 2h, 1h30m."""

from __future__ import annotations

import math
import re

from harness.errors import UsageError

_PARTS = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def read_duration(option: str, text: str) -> float:
    """Seconds, of a text with hours, minutes and seconds.

    Raises:
        UsageError: another form, or no time at all.
    """
    match = _PARTS.fullmatch(text.strip().lower().replace(" ", ""))
    seconds = (
        sum(float(value) * _SECONDS[unit] for unit, value in match.groupdict().items() if value)
        if match
        else 0.0
    )
    if not seconds or not math.isfinite(seconds):
        raise UsageError(f"{option} {text!r} is no length of time.", "Write 90s, 10m, 2h or 1h30m.")
    return seconds
