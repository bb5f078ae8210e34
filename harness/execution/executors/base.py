"""The contract of an executor: it takes a group document to a place and brings results back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.execution.documents import GroupDocument


@dataclass(frozen=True)
class Poll:
    """What is new of a submitted group.

    Attributes:
        events: the conductor's events since the last poll, in order.
        running: whether more may come.
        exit_status: of the conductor, once it ended.
    """

    events: tuple[Mapping[str, Any], ...]
    running: bool
    exit_status: int | None = None


class Executor(Protocol):
    """Somewhere groups can run: this machine, a cluster's node, a remote host."""

    def submit(self, group: GroupDocument) -> str:
        """Start a group; returns the name it is asked for by."""

    def poll(self, name: str, timeout_s: float) -> Poll:
        """Wait up to `timeout_s` for news of a group."""

    def cancel(self, name: str) -> None:
        """End a group at once, and wait until nothing of it runs."""

    def fetch(self, name: str) -> Path:
        """The folder with the group's results, on this machine."""
