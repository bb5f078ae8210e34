"""What the commands of `harness env` share: options, the executor and its engine, and printing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from harness.containers.engine import Engine


class ExecutorName(StrEnum):
    """What a person may say of where cells run."""

    auto = "auto"
    docker = "docker"
    venv = "venv"


_NAMES = "[auto|docker|venv]"


def _executors(text: str) -> tuple[ExecutorName, ...]:
    """One executor, or those of HARNESS_EXECUTOR, which may name several for a sweep to compare."""
    known = {one.value: one for one in ExecutorName}
    words = text.split()
    for word in words or [text]:
        if word not in known:
            listed = ", ".join(f"'{name}'" for name in known)
            raise typer.BadParameter(f"'{word}' is not one of {listed}")
    return tuple(dict.fromkeys(known[word] for word in words))


def _first(text: str) -> ExecutorName:
    """The executor to take; of several the first."""
    return _executors(text)[0]


def _one_or_auto(text: str) -> ExecutorName:
    """The executor to take; `auto` for several."""
    found = _executors(text)
    return found[0] if len(found) == 1 else ExecutorName.auto


Images = Annotated[
    list[Path] | None,
    typer.Option("--images", help="A folder with further environment folders; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
OnePython = Annotated[
    str | None,
    typer.Option(
        "--python",
        help="Python to use: X.Y, or (virtual environments) the path of an interpreter.",
    ),
]
Executors = Annotated[
    ExecutorName,
    typer.Option(
        "--executor",
        envvar="HARNESS_EXECUTOR",
        metavar=_NAMES,
        parser=_first,
        help="docker: container images; venv: virtual environments; auto: images where a "
        "container engine answers (`harness doctor` says what it takes and why).",
    ),
]
BothExecutors = Annotated[
    ExecutorName,
    typer.Option(
        "--executor",
        envvar="HARNESS_EXECUTOR",
        metavar=_NAMES,
        parser=_one_or_auto,
        help="docker: images only; venv: virtual environments only; auto: both.",
    ),
]


@dataclass(frozen=True)
class Place:
    """The executor that was chosen, and the engine of `docker`."""

    executor: Literal["venv", "docker"]
    engine: Engine | None


@contextlib.contextmanager
def place_of(asked: ExecutorName) -> Iterator[Place]:
    """Choose an executor; the connection to its engine lasts as long as the block.

    Raises:
        EngineError: `docker` was asked for and no engine answers.
    """
    from harness.doctor.choice import choose_executor

    choice = choose_executor(asked.value)
    try:
        yield Place(choice.executor, choice.engine)
    finally:
        if choice.engine is not None:
            choice.engine.close()


def print_out(what: Table | str) -> None:
    """Print a table or lines for a person, as they are."""
    Console().print(what, highlight=False, markup=False, soft_wrap=isinstance(what, str))


def print_json(document: object) -> None:
    """Print a document for a program."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
