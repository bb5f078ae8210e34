"""The doctor's report: every check in order, what `auto` takes, and whether anything can run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.doctor.checks import Check
from harness.doctor.engine_checks import (
    auto_check,
    default_check,
    docker_can,
    engine_checks,
    gpu_checks,
    venv_can,
)
from harness.doctor.facts import Facts
from harness.doctor.machine_checks import machine_checks, venv_checks


@dataclass(frozen=True)
class Report:
    """What the doctor says of a machine."""

    checks: tuple[Check, ...]
    executor: str
    executor_reason: str
    runnable: bool
    """Whether any executor can run cells here."""

    def count(self, status: str) -> int:
        """How many checks ended so."""
        return sum(1 for check in self.checks if check.status == status)

    def document(self, facts: Facts, machine: Mapping[str, Any]) -> dict[str, Any]:
        """What `harness doctor --json` prints."""
        return {
            "checks": [dataclasses.asdict(check) for check in self.checks],
            "auto": {"executor": self.executor, "reason": self.executor_reason},
            "machine": {**machine, "gpus": [dataclasses.asdict(gpu) for gpu in facts.gpus.gpus]},
        }


def examine(facts: Facts) -> Report:
    """Judge a machine by its facts."""
    checks: Sequence[Check] = (
        auto_check(facts),
        *default_check(facts),
        *engine_checks(facts),
        *venv_checks(facts),
        *gpu_checks(facts),
        *machine_checks(facts),
    )
    return Report(
        checks=tuple(checks),
        executor=facts.executor,
        executor_reason=facts.executor_reason,
        runnable=docker_can(facts) or venv_can(facts),
    )
