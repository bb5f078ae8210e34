"""The part of a sweep file that says how cells are timed; what it means is in docs/timing.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Scenario = Literal["single_stream", "offline"]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _rising(batches: tuple[int, ...] | str) -> tuple[int, ...] | str:
    return batches if isinstance(batches, str) else tuple(sorted(set(batches)))


class Timing(BaseModel):
    """How cells are timed against each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    scenarios: Annotated[tuple[Scenario, ...], AfterValidator(_each_once)] = Field(
        ("single_stream",),
        min_length=1,
        description="single_stream (one query after the other, each of `batch` inputs: how long it "
        "takes) and offline (everything is there at once: the most inputs a second, at the batch "
        "that gives it).",
    )
    rounds: int = Field(
        16,
        ge=2,
        le=1000,
        description="Interleaved rounds, in balanced order. Fewer than 15 are marked INVALID.",
    )
    round_seconds: float = Field(
        0.25, gt=0, le=600, description="About how long a cell is timed in each round, at least."
    )
    min_seconds: float = Field(
        2, ge=0, le=36_000, description="How long a cell is timed over all rounds, at least."
    )
    min_queries: int = Field(
        100,
        ge=1,
        le=1_000_000,
        description="How many queries a cell is timed over, at least; of offline, inputs. Rounds "
        "are made longer for it.",
    )
    warmup_seconds: float = Field(
        5, gt=0, le=3600, description="The most that a cell may take until its times are steady."
    )
    control: bool = Field(
        True, description="Run the reference twice, to see what this machine's noise is."
    )
    offline_batches: Annotated[
        Literal["auto"]
        | Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1)],
        AfterValidator(_rising),
    ] = Field(
        "auto",
        description="Batches that offline tries: a list, or auto (the cell's own, then twice as "
        "many, and so on, until it gains nothing).",
    )
    fresh_processes: bool = Field(
        False,
        description="Start every cell's process anew for each round, so that where the memory of "
        "one process lies is part of what rounds differ by. It takes the time to start and load "
        "each cell in every round, and shows differences of 1 to 3 %.",
    )
    floor: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Relative differences of times below this are never claimed: two processes of "
        "the very same cell differ by about as much, by where their memory lies. With "
        "`fresh_processes` it is divided by the root of the number of rounds.",
    )
    control_bound: float = Field(
        0.05,
        gt=0,
        le=1,
        description="If the reference run twice differs by more than this, the session is INVALID.",
    )
