"""The doctor's checks: pure functions from the facts of a machine to findings with remedies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "info", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report."""

    name: str
    status: Status
    finding: str
    remedy: str = ""
    """What to do; commands stand between backticks."""


def ok(name: str, finding: str) -> Check:
    """A check that found what is wanted."""
    return Check(name, "ok", finding)


def info(name: str, finding: str, remedy: str = "") -> Check:
    """Something worth knowing that stops nothing."""
    return Check(name, "info", finding, remedy)


def warning(name: str, finding: str, remedy: str) -> Check:
    """Something that works, but worse than it could."""
    return Check(name, "warning", finding, remedy)


def failed(name: str, finding: str, remedy: str) -> Check:
    """Something that does not work."""
    return Check(name, "failed", finding, remedy)
