"""Progress of long work: a small seam, so that rooms report it without knowing the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichBars,
)


class Task(Protocol):
    """One piece of long work."""

    def advance(self, n: int = 1) -> None:
        """Say that `n` more units are done."""

    def describe(self, text: str) -> None:
        """Change what is said of the work."""


class Progress(Protocol):
    """Where long work reports to."""

    def task(self, description: str, total: int | None = None) -> AbstractContextManager[Task]:
        """Open a piece of work of `total` units (None: unknown)."""

    def note(self, text: str) -> None:
        """Say one lasting line."""


class _SilentTask:
    def advance(self, n: int = 1) -> None:
        """Nobody listens."""

    def describe(self, text: str) -> None:
        """Nobody listens."""


class SilentProgress:
    """Says nothing: for libraries and tests. Notes are kept in `notes`."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Task]:  # noqa: ARG002
        """A task that nobody sees."""
        yield _SilentTask()

    def note(self, text: str) -> None:
        """Keep the line."""
        self.notes.append(text)


class _RichTask:
    def __init__(self, bars: RichBars, task_id: TaskID) -> None:
        self._bars, self._id = bars, task_id

    def advance(self, n: int = 1) -> None:
        self._bars.advance(self._id, n)

    def describe(self, text: str) -> None:
        self._bars.update(self._id, description=text)


class _PlainTask:
    def __init__(self, console: Console, description: str, total: int | None) -> None:
        self._console, self._total, self._done = console, total, 0
        self._tenth = 0
        self._description = description

    def advance(self, n: int = 1) -> None:
        self._done += n
        if self._total and self._done * 4 // self._total > self._tenth:
            self._tenth = self._done * 4 // self._total
            self._console.print(
                f"{self._description}: {self._done}/{self._total}", highlight=False, markup=False
            )

    def describe(self, text: str) -> None:
        self._description = text


class RichProgress:
    """Bars on standard error; on something that is no terminal, a line a quarter of the way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: RichBars | None = None
        self._open = 0

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Task]:
        """Show a bar (or a spinner, for an unknown total) while the block runs."""
        if not self._console.is_terminal:
            self._console.print(f"{description} …", highlight=False, markup=False)
            yield _PlainTask(self._console, description, total)
            return
        if self._bars is None:
            self._bars = RichBars(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
                # Drawing costs processor time, and cells are being timed.
                refresh_per_second=4,
            )
            self._bars.start()
        bars = self._bars
        task_id = bars.add_task(description, total=total)
        self._open += 1
        try:
            yield _RichTask(bars, task_id)
        finally:
            bars.remove_task(task_id)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None

    def note(self, text: str) -> None:
        """Print one lasting line on standard error."""
        self._console.print(text, highlight=False, markup=False)
