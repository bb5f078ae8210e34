"""The group document: what an executor takes to a place and a conductor carries out there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.containers.limits import Limits


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrialTask(_Document):
    """A model to run over a few inputs, to see what it answers.

    The job is the runner's `infer` document without what belongs to the place, and without the
    model's path.
    """

    key: str
    label: str
    python: Path
    job: dict[str, Any]
    image: str | None = None


class CheckTask(_Document):
    """How a conversion is checked: what was made against its source."""

    target: TrialTask
    source: TrialTask | None = Field(None, description="None: nobody can run it.")
    tolerance: float
    tolerance_name: str = Field(description="What the tolerance is called in a sweep file.")
    quantised_tolerance: float | None = Field(
        None, description="Where either of them turns out to take or give integers with a scale."
    )


class ConversionTask(_Document):
    """A conversion to make before the cells that need it.

    The job's `target` is relative to the conversion's folder in the results. If the source is made
    in this group too, the job's source is a path relative to that conversion's folder.
    """

    key: str
    label: str
    python: Path
    job: dict[str, Any]
    image: str | None = None
    source: str | None = Field(
        None, description="Key of the conversion before, if it is made here."
    )
    source_axes: dict[str, Any] = Field(
        default={}, description="How a source that was there before is fed: `input_axes`, …"
    )
    check: CheckTask | None = None


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
    cache: Path | None = Field(
        None, description="Where what its library keeps of compilations outlives the worker."
    )


class Owner(_Document):
    """The sweep's process, so that what it leaves can be told from what it still needs."""

    pid: int
    started: float


class SessionTask(_Document):
    """How the group's members are timed against each other."""

    scenario: Literal["single_stream", "offline"] = "single_stream"
    reference: str
    control: str | None = None
    rounds: int
    round_ns: int = Field(description="About how long a member is timed in each round, at least.")
    min_ns: int = Field(0, description="How long over all rounds, at least.")
    min_queries: int = Field(1, description="How many queries over all rounds, at least.")
    warmup_ns: int = Field(5_000_000_000, description="The most that a warm-up may take.")
    offline_batches: tuple[int, ...] | None = Field(
        None, description="Batches that offline tries; None: found by doubling."
    )
    fresh_processes: bool = Field(
        False, description="Whether each round is timed in processes of its own."
    )
    floor: float = Field(
        0.01, description="What two processes of the same cell may differ by, relatively."
    )
    control_bound: float = Field(
        0.05, description="What the reference and its control may differ by."
    )


class GroupDocument(_Document):
    """Work for one conductor: JSON in, a folder of results out."""

    schema_version: Literal[1] = 1
    kind: Literal["group"] = "group"
    runner: Path = Field(description="The folder that holds the package `runner`.")
    results: Path = Field(description="Where the results go; made fresh for this group.")
    timeout_s: float
    compile_timeout_s: float | None = Field(
        None, description="From the start of a worker until its model is loaded; None: timeout_s."
    )
    conversion_timeout_s: float = 3600
    conversion_memory_mib: int | None = Field(
        None, description="What a conversion may use; as a process it is watched."
    )
    conversions: tuple[ConversionTask, ...] = ()
    cells: tuple[CellTask, ...]
    session: SessionTask | None = None
    limits: Limits = Field(Limits(), description="What a container may use.")
    owner: Owner | None = None
