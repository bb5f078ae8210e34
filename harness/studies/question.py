"""What a bisection is asked about: two cells of a store, and the sweep of one cell that each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analysis import choice, pairing
from harness.environments.registry import name_of
from harness.errors import EnvironmentSpecError, UsageError
from harness.spec.load import check_spec
from harness.spec.models import EnvironmentEntry, Limits, ModelEntry, SweepSpec
from harness.store import layout
from harness.store.cell_routes import AXES as WISHES
from harness.store.cell_routes import route_of
from harness.store.load import CellRecord, labels_of

Document = dict[str, Any]

_OF_THE_COMPILER = frozenset({"settings", "level"})
_RUN = ("precision", "threads", "instruction_set")
_FED = ("preprocessing", "corruption", "mistake")


@dataclass(frozen=True)
class Side:
    """One of the two cells.

    Attributes:
        key: its key.
        label: what to call it.
        cell: cell.json, or what a sweep lists of it.
        spec: the sweep of this cell alone, without its settings.
        failure: why it has no answers; empty where it has.
    """

    key: str
    label: str
    cell: Document
    spec: SweepSpec
    failure: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """Of its backend, those that its level stands for included."""
        return dict(self.cell.get("settings") or {})

    @property
    def wishes(self) -> dict[str, Any]:
        """What was wanted of its conversions."""
        left_alone = (None, "own", "none")
        return {n: self.cell[n] for n in WISHES if self.cell.get(n) not in left_alone}

    def described(self) -> Document:
        """What a study's document says of it."""
        names = ("model", "environment", "backend", "level", *_RUN, "device", "executor")
        return {
            "key": self.key,
            "label": self.label,
            "settings": self.settings,
            **{name: self.cell.get(name) for name in names},
        }


@dataclass(frozen=True)
class Question:
    """Two cells that were run over the same images with the same model."""

    a: Side
    b: Side
    axes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def ask(
    store: Path, a: str, b: str, *, model: str | None = None, sweep: str | None = None
) -> Question:
    """Find the two cells that a person named, and the sweeps that they come from.

    Raises:
        StoreError: nothing is called so.
        UsageError: they name no pair, or several.
    """
    found = choice.choose(store, a, b, model=model, sweep=sweep)
    pairs = [*found.pairs, *found.unmeasured]
    if len(pairs) != 1:
        models = sorted({str(x.cell.get("model")) for x, _ in pairs})
        raise UsageError(
            f"{a} and {b} name {len(pairs)} pairs of cells, and a bisection is about one.",
            f"Name the model (--model {models[0]})."
            if len(models) > 1
            else "Name both as `harness compare A B` lists them, or by the beginning of their keys.",
        )
    (first, second) = pairs[0]
    labels = labels_of([first, second])
    sides = [_side(store, record, labels[record.key]) for record in (first, second)]
    axes = tuple(pairing.axes(first.cell, second.cell))
    return Question(sides[0], sides[1], axes, found.notes)


def same_model(question: Question) -> None:
    """Refuse cells of two models.

    Raises:
        UsageError: naming both.
    """
    if "model" in question.axes:
        a, b = (side.cell.get("model") for side in (question.a, question.b))
        raise UsageError(
            f"{question.a.label} is a cell of {a}, and {question.b.label} one of {b}.",
            "A bisection is about one model: name two of its cells (`harness status` lists them).",
        )


def only_settings(question: Question) -> None:
    """Refuse cells that differ in more than what their compiler is told.

    Raises:
        UsageError: naming the other axes.
    """
    others = [axis for axis in question.axes if axis not in _OF_THE_COMPILER]
    same_model(question)
    if others:
        raise UsageError(
            f"{question.a.label} and {question.b.label} differ in {', '.join(others)}: between "
            "them there is no way of settings.",
            "`harness bisect operators A B` finds the part of the model that differs; or sweep "
            "the same environment and backend at two levels or with two --setting.",
        )


def entry(spec: SweepSpec, settings: Mapping[str, Any]) -> SweepSpec:
    """A side's sweep with settings."""
    one = spec.environments[0].model_copy(update={"settings": (dict(settings),)})
    return spec.model_copy(update={"environments": (one,)})


def _side(store: Path, record: CellRecord, label: str) -> Side:
    documents = reversed(list(layout.sweep_documents(store)))
    for document in sorted(documents, key=lambda one: bool(one.get("study"))):
        listed = {str(c.get("key")): c for c in document.get("cells") or []}
        if record.key in listed:
            # A sweep lists a cell without what its key was made of.
            cell = {**listed[record.key], **record.cell}
            spec = check_spec(dict(document["spec"]), f"sweep {document['id']}")
            return Side(record.key, label, cell, _alone(spec, cell), record.failure)
    raise UsageError(
        f"{label} is in no sweep of {store}: what it was made from is not known.",
        "Sweep it again, with the same --store.",
    )


def _alone(spec: SweepSpec, cell: Document) -> SweepSpec:
    """A sweep of one cell's model, environment and point of the axes, without its settings."""
    model = _model(spec, cell)
    route = route_of(cell)
    entry = EnvironmentEntry(
        name=_reference(spec, str(cell["environment"])), backends=(str(cell["backend"]),)
    )
    axes: Document = {
        "device": [_device(spec, cell)],
        "batch": [cell["batch"]],
        **{name: [cell[name]] for name in _RUN if cell.get(name) is not None},
        **{name: [cell[name]] for name in _FED if cell.get(name) is not None},
        "preprocessing": _as_asked(spec, "preprocessing", cell),
        "recipe": spec.axes.recipe if len(spec.axes.recipe) == 1 else ("own",),
        **{name: [cell[name]] for name in WISHES if cell.get(name) is not None},
        "route": [route.text] if route and len(spec.axes.route) > 1 else spec.axes.route,
    }
    document = {
        **spec.model_dump(exclude_unset=True, exclude={"baseline", "backends", "keep_ir"}),
        "name": "study",
        "models": [model.model_dump(exclude_unset=True)],
        "environments": [entry.model_dump(exclude_unset=True)],
        "axes": axes,
        "executor": [cell["executor"]],
        # A sweep's document holds what nobody said, too.
        "limits": _said(spec.limits),
    }
    return check_spec(document, "study")


def _said(limits: Limits) -> Document:
    usual = Limits().model_dump()
    return {name: value for name, value in limits.model_dump().items() if value != usual[name]}


def _model(spec: SweepSpec, cell: Document) -> ModelEntry:
    """The entry that made the cell's model, with the one variant that the cell is of."""
    called = str(cell["model"])
    if len(spec.models) == 1:
        found = spec.models[0]
    else:
        found = next((m for m in spec.models if called in _names(m)), spec.models[0])
        if called not in _names(found):
            raise UsageError(
                f"Which model of its sweep {called} is cannot be told from the names there.",
                "Sweep this model alone, with the same --store: finished cells are not run again.",
            )
    if len(found.variants) > 1:
        variant = dict(cell.get("variant") or {})
        return found.model_copy(update={"variants": (variant or "own",)})
    return found


def _names(model: ModelEntry) -> set[str]:
    stem = {model.path.stem, model.path.name} if model.path else set()
    return {name for name in (model.name, model.checkpoint) if name} | stem


def _reference(spec: SweepSpec, environment: str) -> str:
    """What the sweep called an environment, which its results name."""
    for one in spec.environments:
        for reference in one.names:
            try:
                if environment in {reference, name_of(reference)}:
                    return reference
            except EnvironmentSpecError:
                continue
    return environment


def _device(spec: SweepSpec, cell: Document) -> str:
    kind = str(cell["device"])
    return next((one for one in spec.axes.device if one.partition(":")[0] == kind), kind)


def _as_asked(spec: SweepSpec, axis: str, cell: Document) -> list[str]:
    """The point of an axis as it was asked for: results spell `native` out."""
    asked: tuple[str, ...] = getattr(spec.axes, axis)
    return [str(cell[axis])] if cell.get(axis) in asked else [asked[0]]
