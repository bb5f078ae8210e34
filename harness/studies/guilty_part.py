"""Finds the smallest part of a model that shows the difference of two cells of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.pairs import measure
from harness.errors import StoreError, UsageError
from harness.execution.sweep import plan_sweep
from harness.plan.cells import Cell
from harness.progress import Progress
from harness.store.load import CellAnswers, load_cell
from harness.studies import records
from harness.studies.bisect_operators import (
    ROUNDING_NOTE,
    SHARE,
    Tested,
    bound_of,
    difference,
    is_rounding,
    smallest_part,
)
from harness.studies.criteria import find_image
from harness.studies.model_input import input_row
from harness.studies.onnx_graph import OnnxGraph, Part, read_graph
from harness.studies.part_runs import PartRuns, Ran
from harness.studies.question import Question, Side, ask, entry, same_model
from harness.studies.shared_onnx import SharedModel, shared_model

Document = dict[str, Any]
Array = npt.NDArray[Any]

KIND = "bisect-operators"
PARTS = "parts"
"""The store of parts, below the results folder; it may be removed."""

_FED = frozenset({"model", "variant", "preprocessing", "corruption", "mistake", "recipe", "output"})


@dataclass(frozen=True)
class GuiltyPart:
    """What was found.

    Attributes:
        document: the study's, not kept yet.
        sides: A and B.
        model: the part as ONNX.
        fed: its input, [1, ...].
        ran: what each side gave for it.
        runs: what ran it.
    """

    document: Document
    sides: tuple[Side, Side]
    model: Any
    fed: Array
    ran: tuple[Ran, Ran]
    runs: PartRuns


@dataclass
class _Search:
    """Runs parts, and says which show the difference."""

    graph: OnnxGraph
    values: Mapping[str, Array]
    runs: PartRuns
    progress: Progress
    bound: float = 0.0
    failure: str = ""
    """Kind of failure that is looked for instead of a difference; empty: a difference is."""
    tested: list[Tested] = field(default_factory=list)
    ran: dict[Part, tuple[Ran, Ran]] = field(default_factory=dict)

    def shows(self, part: Part) -> bool:
        """Run a part on both sides."""
        tested = self.try_part(part)
        said = tested.note or f"differs by {tested.difference:.3g}"
        word = "shows it" if tested.shows else "does not show it"
        self.progress.note(f"Part {len(self.tested)}: {tested.label}: {word} ({said})")
        return tested.shows

    def try_part(self, part: Part) -> Tested:
        """The same, remembered and not told."""
        tested = self._tried(part, self.graph.describe(part))
        self.tested.append(tested)
        return tested

    def _tried(self, part: Part, label: str) -> Tested:
        for name in (part.start, part.end):
            shape = self.values[name].shape
            if not shape or shape[0] != 1:
                note = (
                    f"{name} has no dimension for the batch, so no cell can be fed or asked for it"
                )
                return Tested(part, label, None, shows=False, note=note)
        try:
            model = self.graph.cut(part, self.values)
            a, b = self.runs.run(f"part-{len(self.tested) + 1}", model, self.values[part.start])
        except StoreError:
            raise
        except UsageError as error:
            return Tested(part, label, None, shows=False, note=error.message)
        self.ran[part] = (a, b)
        apart = difference(a.outputs[0], b.outputs[0]) if a.outputs and b.outputs else None
        if self.failure:
            shows = bool(a.outputs) and (b.trial.kind or b.trial.status) == self.failure
        else:
            shows = apart is not None and apart >= self.bound
        note = "; ".join(
            f"{side} has no answer ({ran.why_not[:160]})"
            for side, ran in (("A", a), ("B", b))
            if not ran.outputs
        )
        return Tested(part, label, apart, shows, note, (a.trial.key, b.trial.key))


def find_guilty_part(
    store: Path,
    a: str,
    b: str,
    progress: Progress,
    *,
    model: str | None = None,
    sweep: str | None = None,
    image: str | None = None,
    share: float = SHARE,
) -> GuiltyPart:
    """Cut the model down to the smallest part that still shows the difference of two cells.

    Args:
        store: the results folder, which holds both cells.
        a: the cell that is taken for right, as `harness compare` names cells.
        b: the cell with the fault, over the same images and the same model.
        progress: where each part is told.
        model: where the names fit cells of several models.
        sweep: only cells of this sweep.
        image: by name or index; by default the one that differs most, among flips if there are any.
        share: a part shows the difference from this share of the whole model's on.

    Raises:
        StoreError: nothing is called so.
        UsageError: the two are fed differently, have no ONNX file in common, or agree.
    """
    if not 0 < share <= 1:
        raise UsageError(f"--share {share:g} must be above 0 and 1 at most.")
    question = ask(store, a, b, model=model, sweep=sweep)
    _same_fed(question)
    sides = (question.a, question.b)
    if sides[0].failure:
        raise UsageError(
            f"{sides[0].label} has no answers ({sides[0].failure}), so nothing can be held "
            "against it.",
            "Exchange the two: what A does not do is then looked for.",
        )
    index, name = _image(store, question, image)
    cells, fed = _prepared(question, index, progress)
    shared = shared_model(store, *cells)
    if shared.input_axes is not None:
        fed = np.ascontiguousarray(fed.transpose(shared.input_axes))
    graph = read_graph(shared.path)
    document = _begun(question, name, shared)
    runs = PartRuns(store / PARTS, *sides, shared, progress)
    search = _Search(graph, _values(graph, fed, runs, progress), runs, progress)
    part = _search(search, share, sides[1])
    found = search.ran[part]
    document |= _found(search, part, share)
    apart = _least(search, part).difference
    document["rounding"] = is_rounding(apart, (str(side.cell["precision"]) for side in sides))
    if document["rounding"]:
        document["notes"].append(ROUNDING_NOTE)
    return GuiltyPart(
        document, sides, graph.cut(part, search.values), search.values[part.start], found, runs
    )


def _same_fed(question: Question) -> None:
    same_model(question)
    others = [axis for axis in question.axes if axis in _FED]
    if others:
        raise UsageError(
            f"{question.a.label} and {question.b.label} differ in {', '.join(others)}: what they "
            "are fed or made from differs already, whatever their operators do.",
            "Compare two cells of the same model and the same inputs.",
        )


def _image(store: Path, question: Question, wanted: str | None) -> tuple[int, str]:
    """The image that is looked at: the one that was named, else where it shows most."""
    a = _answers(store, question.a)
    if wanted is not None:
        index = find_image(a, wanted)
        return index, a.names[index]
    if question.b.failure:
        return 0, a.names[0]
    found = measure(a, _answers(store, question.b))
    if found.identical:
        raise UsageError(
            "The two cells give the same answers: there is nothing to look for.",
            "`harness compare A B` tells where two cells differ.",
        )
    apart = np.nan_to_num(found.per_image.max_abs_diff, nan=np.inf)
    among = [flip.image for flip in found.flipped] or list(range(found.images))
    index = max(among, key=lambda one: (apart[one], -one))
    return index, a.names[index]


def _answers(store: Path, side: Side) -> CellAnswers:
    return load_cell(store, side.key, side.cell.get("inputs_key"))


def _prepared(question: Question, index: int, progress: Progress) -> tuple[list[Cell], Array]:
    """Both cells as they are planned today, and one image as they are fed it."""
    cells, fed = [], None
    for side in (question.a, question.b):
        resolved, plan = plan_sweep(entry(side.spec, side.settings), progress)
        resolved.stacks.close()
        if len(plan.cells) != 1:
            raise UsageError(
                f"{side.label} cannot be planned alone any more.",
                "Sweep the two cells again, with the same --store.",
            )
        cell = plan.cells[0]
        cells.append(cell)
        if fed is None:
            fed = input_row(cell.inputs, resolved.inputs[cell.inputs.inputs_key], index)
    assert fed is not None  # noqa: S101 - set by the first of two sides
    return cells, fed


def _begun(question: Question, image: str, shared: SharedModel) -> Document:
    a = question.a.cell
    return records.begin(
        KIND,
        {
            "model": a.get("model"),
            "environment": a.get("environment"),
            "backend": a.get("backend"),
            "a": question.a.described(),
            "b": question.b.described(),
            "image": image,
            "routes": list(shared.routes),
            "notes": list(question.notes),
        },
    )


def _values(graph: OnnxGraph, fed: Array, runs: PartRuns, progress: Progress) -> dict[str, Array]:
    """What each inner tensor holds for the image, by A; by B where A cannot tell."""
    inner = [name for name in graph.tensors if name != graph.source]
    told, names, dtypes = graph.telling(inner, fed.shape)
    progress.note(f"Asking A for the values of {len(names)} inner tensors.")
    why = []
    for side in (0, 1):
        (ran,) = runs.run("inner-values", told, fed, sides=(side,))
        if len(ran.outputs) == len(names):
            found = {
                name: np.asarray(output[0]).astype(dtypes[name])
                for name, output in zip(names, ran.outputs, strict=True)
            }
            return {graph.source: fed, **found}
        why.append(ran.why_not or f"{len(ran.outputs)} outputs instead of {len(names)}")
    raise UsageError(
        f"Neither side tells the model's inner values (A: {why[0]}; B: {why[1]}).",
        "Bisect against a third cell that can: onnxruntime gives any tensor as an output.",
    )


def _search(search: _Search, share: float, b: Side) -> Part:
    """See how much the whole model differs on this image, and cut it down."""
    graph = search.graph
    whole = graph.part(graph.source, graph.target)
    if whole is None:
        raise UsageError(f"Nothing leads from {graph.source} to {graph.target} in this model.")
    search.failure = b.failure.partition(":")[0]
    first = search.try_part(whole)
    if not search.failure and first.difference is None:
        raise UsageError(f"The whole model cannot be run: {first.note}.", "Sweep both cells again.")
    if search.failure and not first.shows:
        raise UsageError(
            f"B does not fail on this image alone ({b.failure} in the sweep).",
            "Sweep it again with --retry to see whether it still does.",
        )
    if not search.failure:
        assert first.difference is not None  # noqa: S101 - looked at above
        if first.difference == 0:
            raise UsageError(
                "On this image, run alone, both sides give the same numbers.",
                "Name another with --image; `harness compare A B --json` lists those that flip.",
            )
        search.bound = bound_of(first.difference, share)
        search.tested[0] = replace(first, shows=True)
        search.progress.note(
            f"The whole model differs by {first.difference:.3g} of its largest output; a part "
            f"shows it from {search.bound:.3g} on."
        )
    return smallest_part(graph, search.shows)


def _least(search: _Search, part: Part) -> Tested:
    """The last trial of a part."""
    return next(one for one in reversed(search.tested) if one.part == part)


def _found(search: _Search, part: Part, share: float) -> Document:
    """The fields of the study's document that the search fills."""
    whole = search.tested[0]
    least = _least(search, part)
    label = search.graph.describe(part)
    count = len(search.graph.live)
    apart = "fails" if search.failure else f"differs by {least.difference:.3g}"
    return {
        "headline": f"{label}, of {count} operators, {apart}",
        "criterion": f"B fails ({search.failure})"
        if search.failure
        else f"outputs differ by {search.bound:.3g} of the largest number or more "
        f"({100 * share:g} % of {_compared(whole.difference)})",
        "operators": [
            {
                "type": search.graph.nodes[i].op_type,
                "name": search.graph.nodes[i].name,
                "outputs": list(search.graph.nodes[i].output),
            }
            for i in part.nodes
        ],
        "of": count,
        "start": part.start,
        "end": part.end,
        "frozen": list(search.graph.frozen(part)),
        "difference": _finite(least.difference),
        "whole_difference": _finite(whole.difference),
        "bound": search.bound,
        "failure": search.failure or None,
        "trials": [
            {
                "label": one.label,
                "start": one.part.start,
                "end": one.part.end,
                "operators": len(one.part.nodes),
                "difference": _finite(one.difference),
                "shows": one.shows,
                "note": one.note,
                "keys": list(one.keys),
            }
            for one in search.tested
        ],
        "complete": True,
    }


def _compared(whole: float | None) -> str:
    """What the bound is a share of."""
    if whole is None or whole > 1:
        return "the largest number, since the whole model is off by more than that"
    return f"the whole model's {whole:.3g}"


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity."""
    return value if value is None or np.isfinite(value) else "infinite"
