"""A sweep within a budget of time: probed, cut to what fits, and held to it while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.canonical import key_of, write_json
from harness.errors import StoreError, UsageError
from harness.execution.bundles import answers_folder
from harness.execution.executors.base import Executor
from harness.execution.outcome import Outcome
from harness.execution.resolve import count_inputs
from harness.execution.sweep import run_sweep
from harness.plan.budget import (
    Asked,
    Cost,
    choose,
    guess_costs,
    in_words,
)
from harness.plan.build import Plan
from harness.plan.cells import Cell
from harness.plan.groups import families, make_groups, reference_of
from harness.progress import Progress
from harness.spec.models import SweepSpec
from harness.store import layout
from harness.studies.budget_pace import Governor, ProbePace

Document = dict[str, Any]

PROBE_IMAGES = 8
"""Inputs that each cell answers in the probe."""

PROBE_SHARE = 0.25
"""Of the budget, the most that the probe takes: after that, costs are guessed."""

ONE_CELL_SHARE = 0.1
"""Of the budget: a cell that takes longer than this to be ready for the probe is left out."""

_END_S, _END_SHARE = 3.0, 0.01
"""What comparing and the report take at the end."""

_NS = 1e9


@dataclass(frozen=True)
class _Probed:
    """What a probe found.

    Attributes:
        images: that each cell is to answer.
        costs: of every cell, by its twin.
        cut: why cells take no part, by their twins.
        labels: of those, for a person.
        known: how many were probed.
        seconds: that it took.
        foreseen_s: what the whole sweep would take, and what it takes as it was cut.
    """

    images: int
    costs: Mapping[str, Cost]
    cut: Mapping[str, str]
    labels: Mapping[str, str]
    known: int
    seconds: float
    foreseen_s: tuple[float, float]


@dataclass
class _Clock:
    """Seconds since a sweep began."""

    now: Callable[[], float]
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.now()

    def passed(self) -> float:
        """Seconds since then."""
        return self.now() - self.began


def sweep_within(
    seconds: float,
    spec: SweepSpec,
    store: Path,
    progress: Progress,
    *,
    retry: bool = False,
    executor: Executor | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    now: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Run as much of a sweep as fits into a time, and say what was cut.

    Every cell is probed first with a few inputs; then images and rounds are chosen such that all of
    it fits, and the slowest cells are left out where that is not enough. What was chosen is kept in
    the store: the same command goes on with as many images.

    Args:
        seconds: that there are, from now on; making environments counts.
        spec: the sweep, with absolute paths.
        store: the results folder.
        progress: where to report to.
        retry: probe again, and run cells again that failed before.
        executor: where groups run; this machine by default.
        meanwhile: as of `run_sweep`.
        now: a clock: seconds, monotonic.

    Raises:
        UsageError: not one cell was ready for its probe in this time.
        HarnessError: as of `run_sweep`.
    """
    clock = _Clock(now)
    asked = Asked(count_inputs(spec), spec.timing)
    run = partial(run_sweep, store=store, progress=progress, executor=executor)
    place = store / "budgets" / f"{key_of([spec.model_dump(mode='json'), seconds])[:16]}.json"
    probed = None if retry else _kept(place)
    if probed is not None:
        progress.note(f"As this command chose before: {probed.images} images a cell.")
    else:
        until = clock.began + seconds * PROBE_SHARE
        pace = ProbePace(now, until)
        progress.note(
            f"Probing cells with {min(PROBE_IMAGES, asked.images)} images each, for "
            f"{in_words(seconds * PROBE_SHARE)} at most."
        )
        outcome = run(_probe_spec(spec, seconds), retry=True, pace=pace)
        assert pace.plan is not None  # noqa: S101 - a sweep is planned before it runs
        left = seconds - clock.passed() - _end_s(seconds)
        probed = _weigh(pace.plan, outcome, store, spec, asked, left, seconds, clock.passed())
        _keep(place, probed)
    chosen = _chosen_spec(spec, probed, seconds)
    governor = Governor(
        now,
        clock.began + seconds - _end_s(seconds),
        costs=probed.costs,
        images=probed.images,
        timing=spec.timing,
        cut=probed.cut,
        # Timing and limits are told as they were asked for: what follows from it asks for as much.
        more=lambda: {
            "budget": _document(seconds, asked, probed) | _taken(clock, governor),
            "spec": _over(spec, probed.images).model_dump(mode="json"),
        },
    )
    for line in _cuts(asked, probed, seconds):
        progress.note(line)
    return run(chosen, retry=retry, pace=governor, meanwhile=meanwhile)


def _end_s(seconds: float) -> float:
    return _END_S + _END_SHARE * seconds


def _probe_spec(spec: SweepSpec, seconds: float) -> SweepSpec:
    """The sweep over a few inputs, not timed, in which no cell takes long."""
    bound = max(5.0, seconds * ONE_CELL_SHARE)
    limits = spec.limits
    compile_s = min(bound, limits.compile_seconds or limits.timeout_seconds)
    return _over(spec, PROBE_IMAGES).model_copy(
        update={
            "timing": spec.timing.model_copy(update={"enabled": False}),
            "limits": limits.model_copy(
                update={
                    "compile_seconds": compile_s,
                    "timeout_seconds": min(bound, limits.timeout_seconds),
                }
            ),
            "conversions": spec.conversions.model_copy(
                update={
                    "timeout_seconds": min(
                        spec.conversions.timeout_seconds, max(bound, seconds * PROBE_SHARE)
                    )
                }
            ),
            "keep_ir": False,
        }
    )


def _over(spec: SweepSpec, images: int) -> SweepSpec:
    """The sweep over so many of its inputs."""
    if spec.inputs is not None:
        limit = min(images, spec.inputs.limit or images)
        return spec.model_copy(update={"inputs": spec.inputs.model_copy(update={"limit": limit})})
    assert spec.data is not None  # noqa: S101 - the spec has either data or inputs
    limit = min(images, spec.data.limit or images)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"limit": limit})})


def _chosen_spec(spec: SweepSpec, probed: _Probed, seconds: float) -> SweepSpec:
    """The sweep as it was cut; rounds may be fewer, and how long they are is said group by group."""
    least = Asked(probed.images, spec.timing).scaled(0.0)
    limits = spec.limits
    longest = min(limits.compile_seconds or limits.timeout_seconds, max(10.0, seconds / 4))
    return _over(spec, probed.images).model_copy(
        update={
            "timing": least.timing,
            "limits": limits.model_copy(update={"compile_seconds": longest}),
        }
    )


def _weigh(
    plan: Plan,
    outcome: Outcome,
    store: Path,
    spec: SweepSpec,
    asked: Asked,
    left_s: float,
    seconds: float,
    taken_s: float,
) -> _Probed:
    """What fits, from what the probe found."""
    known: dict[str, Cost] = {}
    slow: dict[str, str] = {}
    broken: set[str] = set()
    heads = {reference_of(family, plan.baseline).twin for family in families(plan.cells)}
    for cell in plan.cells:
        failure = outcome.failures.get(cell.key)
        if failure is None:
            cost = _cost_of(store, cell)
            known |= {cell.twin: cost} if cost else {}
        elif failure.kind != "timeout":
            broken.add(cell.twin)
        elif cell.twin not in heads:
            slow[cell.twin] = f"it took too long in the probe already: {failure.message}"
    live = [cell for cell in plan.cells if cell.twin not in broken | set(slow)]
    if not known:
        if live or slow:
            raise UsageError(
                f"No cell answered {PROBE_IMAGES} images in {in_words(taken_s)}, so what fits into "
                f"{in_words(seconds)} cannot be told.",
                "Give more time with --budget, or leave the budget away.",
            )
        return _Probed(asked.scaled(0.0).images, {}, {}, {}, 0, taken_s, (0.0, 0.0))
    costs = guess_costs(live, known)
    group = partial(_groups, spec, plan.baseline)
    whole = choose(live, group, costs, asked, float("inf"), heads)
    choice = choose(live, group, costs, asked, left_s, heads)
    cut = {**slow, **choice.left_out}
    # Those that failed in the probe are run all the same, so that they fail where it is seen.
    costs |= dict.fromkeys(broken, Cost(0.0, 0.0, guessed=True))
    return _Probed(
        images=choice.asked.images,
        costs=costs,
        cut=cut,
        labels={cell.twin: cell.label for cell in plan.cells if cell.twin in cut},
        known=len(known),
        seconds=taken_s,
        foreseen_s=(whole.seconds, choice.seconds),
    )


def _groups(spec: SweepSpec, baseline: str | None, cells: Sequence[Cell]) -> Sequence[Any]:
    timing = spec.timing
    return make_groups(
        cells,
        baseline=baseline,
        timed=timing.enabled,
        control=timing.control,
        scenarios=timing.scenarios,
    )


def _cost_of(store: Path, cell: Cell) -> Cost | None:
    """What a cell took that was answered; None where its bundle does not tell."""
    path = answers_folder(store, cell.key) / "answers.json"
    if not path.is_file():
        return None
    found = layout.read_document(path)
    rows = int(found["outputs"][0]["shape"][0])
    opened_ns = found.get("opened_ns") or sum(
        found[name] for name in ("load_ns", "compile_ns", "first_inference_ns")
    )
    # Rows are answered in whole batches: the last is filled up.
    run = -(-rows // cell.batch) * cell.batch
    return Cost(opened_ns / _NS, found["duration_ns"] / _NS / run)


def _document(seconds: float, asked: Asked, probed: _Probed) -> Document:
    """What a sweep's document says of its budget."""
    return {
        "seconds": seconds,
        "probe": {"seconds": round(probed.seconds, 2), "cells": probed.known},
        "images": {"asked": asked.images, "chosen": probed.images},
        "foreseen_seconds": {
            "asked": round(probed.foreseen_s[0], 1),
            "chosen": round(probed.foreseen_s[1], 1),
        },
        "left_out": [
            {"cell": probed.labels[twin], "reason": why} for twin, why in probed.cut.items()
        ],
    }


def _taken(clock: _Clock, governor: Governor) -> Document:
    """What became of it, at the sweep's end."""
    shares = governor.shares
    return {
        "taken_seconds": round(clock.passed(), 2),
        "timing_share": {"least": round(min(shares), 4), "most": round(max(shares), 4)}
        if shares
        else None,
        "left_out_late": len(governor.late),
        "not_timed": len(governor.untimed),
    }


def _cuts(asked: Asked, probed: _Probed, seconds: float) -> list[str]:
    """What is cut, for a person."""
    whole_s, chosen_s = probed.foreseen_s
    said = [f"All of it would take about {in_words(whole_s)}; as it is cut, {in_words(chosen_s)}."]
    if chosen_s > seconds:
        said.append(
            f"Even the least of it takes longer than {in_words(seconds)}: what others are compared "
            "with is never left out."
        )
    if probed.images < asked.images:
        said.append(f"Cut to {probed.images} of {asked.images} images.")
    said += [f"Left out: {probed.labels[twin]}: {why}" for twin, why in probed.cut.items()]
    return said


def _kept(place: Path) -> _Probed | None:
    """What the same command chose before; None where there is nothing that can be read."""
    try:
        found = layout.read_document(place)
        del found["schema_version"]
        return _Probed(
            **{
                **found,
                "costs": {twin: Cost(**cost) for twin, cost in found["costs"].items()},
                "foreseen_s": tuple(found["foreseen_s"]),
            }
        )
    except (StoreError, KeyError, TypeError, AttributeError):
        return None


def _keep(place: Path, probed: _Probed) -> None:
    costs = {twin: asdict(cost) for twin, cost in probed.costs.items()}
    write_json(place, {"schema_version": 1, **vars(probed), "costs": costs})
