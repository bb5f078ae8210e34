"""A compiler whose passes a test chooses: trials that write real bundles and sessions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from support.store_factory import StoreFactory, logits

from harness.canonical import key_of
from harness.studies.points import Trial


@dataclass(frozen=True)
class Program:
    """What a set of passes makes of the model: an operator table, a shift of scores, its speed."""

    operators: dict[str, int]
    shift: float = 0.0
    flips: int = 0
    ns: int = 1_000_000


class Crash(Exception):  # noqa: N818
    """Raised by a compiler for passes that bring it down."""


@dataclass
class PlantedTrials:
    """As `studies.trials.Trials`, over a store of a test's own.

    The model may be `fitted` on the images, the compiler `moody`: another program each time.
    """

    factory: StoreFactory
    known: tuple[str, ...]
    compile: Callable[[Collection[str]], Program]
    shown: bool = True
    images: int = 8
    given: dict[str, Any] = field(default_factory=dict)
    sweeps: list[str] = field(default_factory=list)
    batches: list[tuple[list[str], bool]] = field(default_factory=list)
    looking: PlantedTrials | None = None
    fitted: bool = False
    moody: bool = False
    elsewhere: tuple[str, ...] = ()

    @property
    def store(self):
        return self.factory.root

    def cell(self):
        return SimpleNamespace(
            model="m",
            environment="compiler-1",
            backend="planted",
            key="cell",
            model_sha256=f"fitted on {self.images}" if self.fitted else "given",
            conversion=None,
        )

    def over(self, images):
        if images >= self.images:
            return self
        if self.looking is None:
            self.looking = replace(self, images=images, looking=None, batches=[])
        return self.looking

    def refusal(self):
        return None if set(self.given) <= {"level"} else f"planted has no setting {[*self.given]}"

    def named_passes(self):
        return dict.fromkeys(self.elsewhere, len(self.known))

    def offer(self):
        return {"names": {"disabled_passes": list(self.known)}}

    def run(self, points, *, timed=False):
        self.batches.append(([point.label for point in points], timed))
        self.sweeps.append(f"sweep-{len(self.sweeps)}")
        trials = [self._trial(point) for point in points]
        if timed:
            self._time([trial for trial in trials if trial.answered])
        return trials

    def _program(self, point):
        off = point.settings.get("disabled_passes", ())
        return self.compile([name for name in self.known if name not in off])

    def _trial(self, point):
        try:
            program = self._program(point)
        except Crash as crash:
            key = key_of(dict(point.settings))
            return Trial(point, "failed", self.store, self.sweeps[-1], key, "signal", str(crash))
        inputs = self.factory.inputs(self.images)
        scores = logits(self.images, 10) + np.float32(program.shift)
        for image in range(program.flips):
            scores[image, (scores[image].argmax() + 1) % 10] = scores[image].max() + 1
        told = {"absent": "silent"}
        if self.shown:
            digest = key_of([program.operators, program.shift, program.flips, program.ns])
            if self.moody:
                digest = key_of([digest, len(self.factory.cells)])
            told = {"form": "onnx", "sha256": digest, "operators": program.operators}
        settings = dict(point.settings)
        existing = [
            key
            for key, cell in self.factory.cells.items()
            if (cell["settings"], cell["inputs_key"]) == (settings, inputs)
        ]
        key = (
            existing[0]
            if existing
            else self.factory.cell(
                inputs,
                [scores],
                environment="compiler-1",
                settings=settings,
                told={"compiled": told},
            )
        )
        return Trial(point, "done", self.store, self.sweeps[-1], key, inputs_key=inputs)

    def _time(self, trials):
        noise = np.random.default_rng(len(self.sweeps)).normal(1, 0.001, (len(trials), 16, 4))
        durations = {
            trial.key: (self._program(trial.point).ns * noise[place]).astype(np.int64)
            for place, trial in enumerate(trials)
        }
        keys = list(durations)
        cells = {key: {"valid": True, "reasons": []} for key in keys}
        self.factory.session(
            durations,
            session_id=f"session-{len(self.sweeps)}",
            validity={"session": [], "cells": cells, "valid": True, "unjudged": []},
        )
