"""`bisect operators` as a study: two cells in, the guilty part with its reproducer out, and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.environments.environment import Environment
from harness.environments.registry import resolve
from harness.errors import HarnessError, StoreError
from harness.execution.bundles import answers_folder
from harness.progress import Progress
from harness.store import layout
from harness.studies import records
from harness.studies.bisect_operators import SHARE
from harness.studies.guilty_part import GuiltyPart, find_guilty_part
from harness.studies.part_runs import Ran
from harness.studies.points import Point
from harness.studies.programs import Asked
from harness.studies.question import Side
from harness.studies.reproducer import (
    MODEL,
    ReproducedSide,
    Shown,
    check_folder,
    write_reproducer,
)
from harness.studies.reproducing import reproduce
from harness.studies.trials import Trials

Document = dict[str, Any]

REPRODUCER = "reproducer"


def study_operators(
    store: Path,
    a: str,
    b: str,
    progress: Progress,
    *,
    model: str | None = None,
    sweep: str | None = None,
    image: str | None = None,
    share: float = SHARE,
    out: Path | None = None,
    verify: bool = False,
) -> Document:
    """Find the guilty part, write its reproducer, run that anew if asked, and keep what was found.

    Args:
        store: the results folder, which holds both cells.
        a: the cell that is taken for right, as `harness compare` names cells.
        b: the cell with the fault.
        progress: where each part is told.
        model: where the names fit cells of several models.
        sweep: only cells of this sweep.
        image: which image, by name or index.
        share: a part shows the difference from this share of the whole model's on.
        out: folder of the reproducer; by default beside the study's document.
        verify: run the reproducer in environments that are made for it alone.

    Returns:
        The study's document.

    Raises:
        StoreError: nothing is called so, or the store cannot be written.
        UsageError: see `find_guilty_part`; or `out` holds something, which is looked at first.
        ProvisionError: an environment cannot be made.
    """
    if out is not None:
        check_folder(out)
    found = find_guilty_part(
        store, a, b, progress, model=model, sweep=sweep, image=image, share=share
    )
    document = found.document
    folder = out or layout.study_path(store, document["id"]).parent / REPRODUCER
    sides = tuple(_reproduced(store, found, index, progress) for index in (0, 1))
    pair = (sides[0], sides[1])
    files = write_reproducer(folder, found.model, found.fed, pair, _shown(document))
    document["reproducer"] = {"path": str(folder), "files": files, "verified": None, "reason": ""}
    records.keep(store, document)
    if verify:
        failed = found.ran[1].trial if document["failure"] else None
        result = reproduce(
            folder,
            pair,
            progress,
            failure=document["failure"],
            message=failed.message if failed else "",
        )
        document["reproducer"] |= result
        records.keep(store, document)
    return document


def _shown(document: Document) -> Shown:
    apart = document["difference"]
    return Shown(
        headline=str(document["headline"]).partition(", of ")[0],
        difference=float("inf") if apart == "infinite" else apart,
        bound=float(document["bound"]),
        failure=document["failure"],
        model=str(document["model"]),
        image=str(document["image"]),
        start=document["start"],
        end=document["end"],
        frozen=len(document["frozen"]),
        rounding=document["rounding"],
    )


def _reproduced(store: Path, found: GuiltyPart, index: int, progress: Progress) -> ReproducedSide:
    """A side as its reproducer needs it: how it runs the part, and in what."""
    side, ran = found.sides[index], found.ran[index]
    executed, axes = found.runs.executed(ran)
    file = MODEL if executed is None else f"subgraph-{'ab'[index]}{executed.suffix}"
    file_format = "onnx" if executed is None else executed.name.partition(".")[2]
    output_axes = axes.get("output_axes")
    environment = _environment(side, progress)
    return ReproducedSide(
        label=_label(side, environment),
        asked=Asked(
            backend=str(side.cell["backend"]),
            file=file,
            format=file_format,
            settings=side.settings,
            precision=str(side.cell["precision"]),
            threads=int(side.cell["threads"]),
            device=str(side.cell["device"]),
            instruction_set=str(side.cell.get("instruction_set") or "own"),
            input_axes=axes.get("input_axes"),
            output_axes=output_axes[0] if output_axes else None,
            known=_known(store, side, progress),
        ),
        environment=environment,
        packages=_packages(store, side, ran),
        executed=executed,
    )


def _environment(side: Side, progress: Progress) -> Environment | None:
    """The environment as this machine makes it; None where it cannot be resolved any more."""
    reference = side.spec.environments[0].names[0]
    try:
        return resolve(reference, progress=progress)
    except HarnessError as error:
        progress.note(f"{reference} cannot be resolved for the reproducer: {error.message}")
        return None


def _label(side: Side, environment: Environment | None) -> str:
    version = f" {environment.version}" if environment else ""
    return f"{side.cell.get('stack') or side.cell['backend']}{version}, {side.cell['backend']}"


def _known(store: Path, side: Side, progress: Progress) -> dict[str, list[str]]:
    """Every name of passes, where the settings say which are the only ones that run."""
    if side.settings.get("passes") is None:
        return {}
    with Trials(store, side.spec, progress) as trials:
        trials.cell(Point("as swept", side.settings))
        return dict(trials.offer().get("names") or {})


def _packages(store: Path, side: Side, ran: Ran) -> dict[str, str]:
    """What was installed where a side ran."""
    for where, key in ((ran.trial.store, ran.trial.key), (store, side.key)):
        path = answers_folder(where, key) / "environment.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        return {str(name): str(v) for name, v in (document.get("packages") or {}).items()}
    raise StoreError(f"What was installed for {side.label} is not known any more.")
