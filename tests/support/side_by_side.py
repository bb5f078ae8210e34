"""Two tests at a time (`pytest -n 2`): most run beside others, those that measure run alone.

With one process this does nothing. With more, each module's tests stay in one process, since the
fixtures that they share are dear; so do all that run the command, and all that run alone.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ALONE = (
    # Containers, which every such test counts, and an engine that they share.
    "tests/full/",
    # Times, and the processes of this machine.
    "tests/local/benchmarks/",
    "tests/local/datasets/test_scale.py",
    "tests/local/environments/",
    "tests/local/execution/",
    "tests/local/cli/test_budget.py",
    "tests/local/cli/test_scenarios.py",
)
TOGETHER = "tests/local/cli/"


def runs_alone(nodeid: str) -> bool:
    """Whether nothing may run beside a test."""
    return nodeid.startswith(ALONE)


def group_of(nodeid: str) -> str:
    """What a test shares a process with."""
    if runs_alone(nodeid):
        return "alone"
    return TOGETHER if nodeid.startswith(TOGETHER) else nodeid.partition("::")[0]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest group first; those that run alone last, when the others are done."""
    if _has_neighbours(config):
        items.sort(key=lambda item: (runs_alone(item.nodeid), group_of(item.nodeid) != TOGETHER))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let one test that runs alone, or any number of the others, go on at a time."""
    if not _has_neighbours(item.config):
        return (yield)
    with Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX if runs_alone(item.nodeid) else fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand the groups out in the order in which they were collected."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only where it is asked for

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


def _has_neighbours(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
