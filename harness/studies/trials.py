"""Running points of one model, environment and backend through the door that sweeps take.

A study asks many questions that differ in settings (which passes run) or in wishes (how the model
file is changed before). The sweep is resolved once; each batch of points is then a sweep of its own
into the same store: resumed, bundled, and with a document of its own. What fails is an answer too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.canonical import key_of
from harness.containers.engine import Engine
from harness.environments.provide import provide
from harness.environments.provision import Provisioned
from harness.errors import UsageError
from harness.execution.executors.base import Executor
from harness.execution.offers import refusal
from harness.execution.resolve import Resolved, resolve_spec
from harness.execution.sweep import Prepared, run_sweep
from harness.plan.build import build_plan
from harness.plan.cells import Cell, point_key
from harness.plan.wishes import NO_WISHES
from harness.progress import Progress
from harness.spec.load import check_spec
from harness.spec.models import SweepSpec
from harness.store import layout
from harness.studies.points import GIVEN, SKIPPED, Point, Trial
from harness.studies.single import not_one_cell, require_single

Document = dict[str, Any]

_UNASKED = asdict(NO_WISHES)
"""Of each wish the value that leaves things as they are."""


class Trials:
    """One model, environment and backend, ready to be tried with many settings.

    Use it as a context manager: it holds the connection to the container engine.
    """

    def __init__(
        self,
        store: Path,
        base: SweepSpec,
        progress: Progress,
        *,
        retry: bool = False,
        executor: Executor | None = None,
    ) -> None:
        """Check that the sweep names one of each; nothing is resolved before it is needed.

        Args:
            store: the results folder.
            base: a sweep of one model in one environment; its settings are part of every point.
            progress: where to report to.
            retry: try points again that failed before.
            executor: where groups run; this machine by default.

        Raises:
            UsageError: several models, environments or backends.
        """
        require_single(base)
        self._store, self._base, self._progress = store, base, progress
        self._retry, self._executor = retry, executor
        self._resolved: dict[str, Resolved] = {}
        self._fewer: dict[int, Trials] = {}
        self.sweeps: list[str] = []
        """Ids of the sweeps that were run, in order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fewer in self._fewer.values():
            fewer.__exit__(kind, error, trace)
        for resolved in self._resolved.values():
            resolved.stacks.close()
        self._resolved.clear()

    def over(self, images: int) -> Trials:
        """The same trials over so many images; these themselves where they have no more.

        What it holds is closed with these trials, and its sweeps are listed among theirs.
        """
        source = "data" if self._base.data is not None else "inputs"
        document = self._base.model_dump(exclude_unset=True)
        limit = document[source].get("limit")
        if limit is not None and limit <= images:
            return self
        if images not in self._fewer:
            document[source] = {**document[source], "limit": images}
            fewer = Trials(
                self._store,
                check_spec(document, "study"),
                self._progress,
                retry=self._retry,
                executor=self._executor,
            )
            fewer.sweeps = self.sweeps
            self._fewer[images] = fewer
        return self._fewer[images]

    @property
    def store(self) -> Path:
        """The results folder."""
        return self._store

    @property
    def given(self) -> Mapping[str, Any]:
        """The settings that the base names; a point's own come on top of them."""
        settings = self._base.environments[0].settings or self._base.axes.settings
        return settings[0]

    def cell(self, point: Point | None = None) -> Cell:
        """The cell of a point (by default of what the base says), planned and not run.

        Raises:
            UsageError: there is none, or several.
        """
        wanted = self._whole(point or GIVEN)
        spec = self._spec([wanted], timed=False)
        resolved = self._resolve(spec)
        plan = build_plan(
            spec,
            resolved.subjects,
            resolved.stacks.stacks,
            resolved.place,
            resolved.workshops,
            {wanted.key: wanted.label},
        )
        if len(plan.cells) != 1:
            raise not_one_cell([cell.label for cell in plan.cells])
        return plan.cells[0]

    def offer(self) -> Document:
        """What the backend says that it can be asked for; its environment is made for that.

        Raises:
            UsageError: the base names several cells.
            ProvisionError: the environment cannot be made.
        """
        cell = self.cell()
        made = self.environment(cell.environment_identity)
        told = made.probe["backends"].get(cell.backend) or {}
        return dict(told.get("offer") or {})

    def named_passes(self) -> dict[str, int]:
        """The backends of the environment that have passes by name, each with how many."""
        told = self.environment(self.cell().environment_identity).probe["backends"]
        offers = {name: (one.get("offer") or {}).get("names") or {} for name, one in told.items()}
        return {
            name: len({one for known in names.values() for one in known})
            for name, names in offers.items()
            if names
        }

    def refusal(self) -> str | None:
        """Why no cell with the base's settings can run; None where it may be tried."""
        cell = self.cell()
        return refusal(cell, self.environment(cell.environment_identity).probe)

    def environment(self, identity: str, point: Point | None = None) -> Provisioned:
        """An environment that takes part in a point, made if it is not there yet.

        Args:
            identity: of the environment: the cell's, or that of a step of its conversion.
            point: whose cell it takes part in; by default what the base says.

        Raises:
            ProvisionError: it cannot be made.
        """
        stacks = self._resolve(self._spec([self._whole(point or GIVEN)], timed=False)).stacks
        if identity not in stacks.ready:
            env = stacks.environments[identity]
            stacks.ready[identity] = provide(env, self._progress, stacks.engine)
        return stacks.ready[identity]

    @property
    def engine(self) -> Engine | None:
        """The container engine, where one is used."""
        return self._resolve(self._spec([self._whole(GIVEN)], timed=False)).stacks.engine

    def run(self, points: Sequence[Point], *, timed: bool = False) -> list[Trial]:
        """Try points, in one sweep; those that the store holds already are not run again.

        Args:
            points: all with the same wishes, or all with the same settings; the first one is what
                times are related to. Two that mean the same share a cell.
            timed: time all of them against the first.

        Returns:
            A trial each, in the order given.

        Raises:
            UsageError: points that differ in settings and in wishes, or a base of several cells.
            HarnessError: nothing could be planned, or the store cannot be written.
        """
        if not points:
            return []
        whole = [self._whole(point) for point in points]
        spec = self._spec(whole, timed=timed)
        prepared = Prepared(
            self._resolve(spec), {point.key: point.label for point in reversed(whole)}
        )
        outcome = run_sweep(
            spec,
            self._store,
            self._progress,
            retry=self._retry,
            executor=self._executor,
            prepared=prepared,
        )
        self.sweeps.append(outcome.id)
        document = layout.read_document(layout.sweep_path(self._store, outcome.id))
        listed, again = _by_point(document, "cell"), _by_point(document, "control")
        return [
            replace(
                self._trial(made, listed, document),
                point=point,
                again=next((str(cell["key"]) for cell in again.get(made.key, ())), ""),
            )
            for point, made in zip(points, whole, strict=True)
        ]

    def _whole(self, point: Point) -> Point:
        """The point with the base's own settings below its own."""
        settings = {**self.given, **point.settings}
        return replace(point, settings=settings, wishes=_asked(point.wishes))

    def _spec(self, points: Sequence[Point], *, timed: bool) -> SweepSpec:
        settings = {key_of(dict(p.settings)): dict(p.settings) for p in points}
        wishes = {key_of(dict(p.wishes)): dict(p.wishes) for p in points}
        if len(settings) > 1 and len(wishes) > 1:
            raise UsageError(
                "These trials differ both in settings and in how the model file is changed.",
                "Run them in turn: all with the same settings, or all with the same wishes.",
            )
        document = self._base.model_dump(exclude_unset=True)
        document["environments"] = [
            {**document["environments"][0], "settings": list(settings.values())}
        ]
        axes = dict(document.get("axes") or {})
        for name in dict.fromkeys(name for one in wishes.values() for name in one):
            values = [one.get(name, _UNASKED[name]) for one in wishes.values()]
            axes[name] = list(dict.fromkeys(values))
        document["axes"] = axes
        document["fingerprint"] = True
        document["timing"] = {**(document.get("timing") or {}), "enabled": timed}
        return check_spec(document, "study")

    def _resolve(self, spec: SweepSpec) -> Resolved:
        """What a sweep names, with its environment asked for the settings of this batch."""
        alike = spec.model_dump(mode="json", exclude={"environments", "timing"})
        place = key_of(alike)
        if place not in self._resolved:
            self._resolved[place] = resolve_spec(spec, self._progress)
        resolved = self._resolved[place]
        if len(resolved.stacks.stacks) != 1:
            raise UsageError(
                "A study runs in one place at a time.", "Name one: --executor docker, or venv."
            )
        stacks = tuple(replace(one, entry=spec.environments[0]) for one in resolved.stacks.stacks)
        return replace(resolved, stacks=replace(resolved.stacks, stacks=stacks))

    def _trial(
        self, point: Point, listed: Mapping[str, Sequence[Document]], document: Document
    ) -> Trial:
        found = listed.get(point.key, ())
        made = partial(Trial, point=point, store=self._store, sweep=str(document["id"]))
        if len(found) > 1:
            raise not_one_cell([json.dumps(one, default=str)[:80] for one in found])
        if not found:
            reasons = dict.fromkeys(str(one["reason"]) for one in document["skipped"])
            return made(status=SKIPPED, message="; ".join(reasons) or "not planned")
        cell = found[0]
        failure = next((f for f in document["failures"] if f["key"] == cell["key"]), None)
        return made(
            status=str(cell["status"]),
            key=str(cell["key"]),
            kind=str(failure["kind"]) if failure else "",
            message=str(failure["message"]) if failure else "",
            inputs_key=str(cell["inputs_key"]),
        )


def _by_point(document: Document, role: str) -> dict[str, list[Document]]:
    """The cells of a sweep, or their controls, by the point that they stand for."""
    found: dict[str, list[Document]] = {}
    for cell in document["cells"]:
        if cell["role"] == role:
            wishes = _asked({name: cell[name] for name in _UNASKED})
            found.setdefault(point_key(cell["settings"] or {}, wishes), []).append(cell)
    return found


def _asked(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that leave things as they are."""
    return {name: value for name, value in wishes.items() if value != _UNASKED[name]}
