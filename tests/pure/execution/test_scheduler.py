"""The scheduler by replayed events: lanes, dependencies, failures."""

from __future__ import annotations

import pytest

from harness.execution.scheduler import Ended, Job, Scheduler, State


def test_provisioning_goes_side_by_side_and_a_timed_group_runs_alone() -> None:
    jobs = [Job(f"env:{n}", "provision") for n in "abc"]
    jobs.append(Job("group:0", "device", wants=("env:a",)))
    scheduler = Scheduler(jobs)
    assert scheduler.start() == ["env:a", "env:b"]
    scheduler.on(Ended("env:a", ok=True))
    assert scheduler.start() == ["env:c"]
    scheduler.on(Ended("env:b", ok=True))
    assert scheduler.start() == []
    scheduler.on(Ended("env:c", ok=True))
    assert scheduler.start() == ["group:0"]
    assert scheduler.start() == []
    scheduler.on(Ended("group:0", ok=True))
    assert scheduler.finished


def test_what_needs_a_failed_job_is_blocked_transitively_and_the_rest_goes_on() -> None:
    scheduler = Scheduler(
        [
            Job("a", "provision"),
            Job("b", "prepare", needs=("a",)),
            Job("c", "device", needs=("b",)),
            Job("d", "device", wants=("a",)),
        ]
    )
    assert scheduler.start() == ["a"]
    scheduler.on(Ended("a", ok=False))
    assert scheduler.states["c"] is State.BLOCKED
    assert scheduler.start() == ["d"]
    scheduler.on(Ended("d", ok=True))
    assert scheduler.finished


def test_a_job_that_does_not_run_cannot_end_and_unknown_needs_are_refused() -> None:
    scheduler = Scheduler([Job("a", "prepare")])
    with pytest.raises(ValueError, match="not running"):
        scheduler.on(Ended("a", ok=True))
    with pytest.raises(KeyError):
        Scheduler([Job("a", "prepare", needs=("b",))])
