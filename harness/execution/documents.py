"""The group document: what an executor takes to a place and a conductor carries out there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.containers.rules import Limits


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConversionTask(_Document):
    """A conversion to make before the cells that need it.

    The job's `target` is relative to the conversion's folder in the results.
    """

    key: str
    label: str
    python: Path
    job: dict[str, Any]
    image: str | None = None


class CellTask(_Document):
    """A cell to open, and whether its answers are still wanted.

    The job is the runner's `infer` document without what belongs to the place (`work`,
    `socket`); a cell of a conversion made in this group has the model's path relative to it.
    """

    key: str
    label: str
    python: Path
    job: dict[str, Any]
    answers: bool
    conversion: str | None = None
    threads: int = 1
    image: str | None = Field(None, description="Run it in a container of this image.")
    gpu: str | None = Field(None, description="UUID of the GPU that it sees; None: no GPU.")


class Owner(_Document):
    """The sweep's process, so that what it leaves can be told from what it still needs."""

    pid: int
    started: float


class SessionTask(_Document):
    """How the group's members are timed against each other."""

    reference: str
    control: str | None = None
    rounds: int
    round_ns: int


class GroupDocument(_Document):
    """Work for one conductor: JSON in, a folder of results out."""

    schema_version: Literal[1] = 1
    kind: Literal["group"] = "group"
    runner: Path = Field(description="The folder that holds the package `runner`.")
    results: Path = Field(description="Where the results go; made fresh for this group.")
    timeout_s: float
    conversions: tuple[ConversionTask, ...] = ()
    cells: tuple[CellTask, ...]
    session: SessionTask | None = None
    limits: Limits = Field(Limits(), description="What a container may use.")
    owner: Owner | None = None
