"""Tools that rewrite ONNX files: which passes they have, and what they made of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.environments.probe import probe, probe_image
from harness.errors import UsageError
from harness.execution.bundles import answers_folder, artifact_folder
from harness.plan.wishes import OPTIMISERS
from harness.store import layout
from harness.studies.points import Point, Trial
from harness.studies.trials import Trials


@dataclass(frozen=True)
class Passes:
    """The passes of a tool: all by name, and those that run where none is named."""

    known: tuple[str, ...]
    unasked: tuple[str, ...]


@dataclass(frozen=True)
class FileForm:
    """What an ONNX file computes, however things are called in it.

    Attributes:
        sha256: over all of it, weights included.
        operators: how many nodes there are, by kind.
    """

    sha256: str
    operators: Mapping[str, int] = field(hash=False)

    def document(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"sha256": self.sha256, "operators": dict(self.operators)}


def passes_of(trials: Trials, tool: str) -> Passes:
    """Ask a tool which passes it has, in the environment that offers it.

    Raises:
        UsageError: no environment here offers the tool, or it does not say.
    """
    point = Point("all on", wishes={"optimise": tool})
    cell = trials.cell(point)
    chain = cell.conversion.chain if cell.conversion else ()
    step = next((one for one in chain if one.converter == OPTIMISERS[tool]), None)
    if step is None:
        raise UsageError(
            f"The model does not pass through {tool} on its way to {cell.backend}.",
            "It rewrites ONNX files; `harness model routes` shows the ways of a model.",
        )
    made = trials.environment(step.environment_identity, point)
    # A probe of all that the runner knows: environments that ship are asked for backends only.
    if made.image is not None and trials.engine is not None:
        told = probe_image(trials.engine, step.environment, made.image, str(made.python), None)
    else:
        told = probe(step.environment, made.python, None)
    found = (told.get("converters") or {}).get(step.converter) or {}
    passes = found.get("passes") or {}
    known, unasked = (tuple(map(str, passes.get(which) or ())) for which in ("all", "unasked"))
    if not known:
        raise UsageError(
            f"{tool} in {step.environment} names no passes: {found.get('detail') or 'it is silent'}.",
            "`harness env list` shows which environments offer it.",
        )
    return Passes(known, unasked)


def file_forms(store: Path, tool: str, trials: Sequence[Trial]) -> dict[str, FileForm]:
    """What the files hold that trials' backend read, by the key of the point.

    A tool says what it found and what it left, so the file as it was is known with the first.

    Args:
        store: the results folder.
        tool: that rewrote the files.
        trials: those that were run.
    """
    forms: dict[str, FileForm] = {}
    source: FileForm | None = None
    for trial in trials:
        graph = _graph(store, tool, trial)
        if graph:
            source = _form(graph, "before")
            forms[trial.point.key] = _form(graph, "after")
    untouched = [one for one in trials if one.answered and not one.point.wishes.get("optimise")]
    if source is not None:
        forms.update({one.point.key: source for one in untouched})
    return forms


def _graph(store: Path, tool: str, trial: Trial) -> Mapping[str, Any]:
    """What the tool said of a trial's file; empty where it has not rewritten one."""
    if not trial.answered:
        return {}
    cell = layout.read_document(answers_folder(store, trial.key) / "cell.json")
    for step in cell["steps"]:
        if step["converter"] == OPTIMISERS[tool]:
            made = layout.read_document(artifact_folder(store, step["key"]) / "artifact.json")
            graph = made.get("graph")
            return graph if isinstance(graph, dict) else {}
    return {}


def _form(graph: Mapping[str, Any], when: str) -> FileForm:
    return FileForm(graph[f"sha256_{when}"], graph[f"operators_{when}"])
