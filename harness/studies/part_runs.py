"""Runs parts of a model on the two sides of a bisection, in a store of their own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from harness.canonical import storage_errors
from harness.execution.bundles import artifact_folder, is_whole
from harness.execution.reported import axes_of
from harness.progress import Progress, SilentProgress
from harness.store import layout
from harness.studies.points import Point, Trial
from harness.studies.question import Side
from harness.studies.shared_onnx import SharedModel, part_spec
from harness.studies.trials import Trials

Array = npt.NDArray[Any]
Document = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """What a side gave for a part.

    Attributes:
        trial: the cell.
        outputs: [1, ...] each; empty where it failed.
    """

    trial: Trial
    outputs: tuple[Array, ...]

    @property
    def why_not(self) -> str:
        """Why there are no outputs; empty where there are."""
        trial = self.trial
        return "" if self.outputs else f"{trial.kind or trial.status}: {trial.message}"


class PartRuns:
    """The two sides, ready to run parts.

    Parts are cells of a store below the results folder: resumed, and in nobody's way there.
    """

    def __init__(
        self, store: Path, a: Side, b: Side, shared: SharedModel, progress: Progress
    ) -> None:
        """Say where.

        Args:
            store: the store of the parts.
            a: the side that is taken for right.
            b: the side with the fault.
            shared: the model that parts are cut from.
            progress: where work is shown.
        """
        self._store, self._progress = store, progress
        self._sides, self._shared = (a, b), shared

    def run(self, name: str, model: Any, fed: Array, sides: Sequence[int] = (0, 1)) -> list[Ran]:
        """Run a part on sides A (0) and B (1), over one row; what fails is told.

        Raises:
            HarnessError: nothing could be planned, or the store cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="harness-part-") as folder:
            path, rows = put(Path(folder), name, model, fed)
            return self._run(name, path, rows, sides)

    def _run(self, name: str, path: Path, rows: Path, sides: Sequence[int]) -> list[Ran]:
        specs = [
            part_spec(
                self._sides[i].spec,
                self._shared.routes[i],
                path,
                rows,
                name=name,
                backend=str(self._sides[i].cell["backend"]),
            )
            for i in sides
        ]
        points = [Point("AB"[i], self._sides[i].settings, self._sides[i].wishes) for i in sides]
        trials: list[Trial] = []
        with self._progress.task(f"Running {name}"):
            if len(specs) == 2 and specs[0] == specs[1]:
                with Trials(self._store, specs[0], SilentProgress()) as both:
                    trials = both.run(points)
            else:
                for spec, point in zip(specs, points, strict=True):
                    with Trials(self._store, spec, SilentProgress()) as one:
                        trials += one.run([point])
        return [Ran(trial, _outputs(trial)) for trial in trials]

    def executed(self, ran: Ran) -> tuple[Path | None, Document]:
        """What a side executed, and how it is fed; (None, {}) where that is the ONNX part itself."""
        document = layout.read_document(layout.sweep_path(self._store, ran.trial.sweep))
        cell = next(one for one in document["cells"] if one["key"] == ran.trial.key)
        steps = cell.get("steps") or []
        if not steps:
            return None, {}
        folder = artifact_folder(self._store, str(steps[-1]["key"]))
        if not is_whole(folder):
            return None, {}  # the conversion is what fails
        artifact = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
        made = next(p for p in sorted(folder.iterdir()) if p.name.startswith("model."))
        return made.resolve(), axes_of(artifact)


def put(folder: Path, name: str, model: Any, fed: Array) -> tuple[Path, Path]:
    """Write a model and its input beside each other; their paths.

    Raises:
        StoreError: the folder is full or cannot be written.
    """
    path, rows = folder / f"{name}.onnx", folder / f"{name}.npy"
    with storage_errors(path):
        onnx.save(model, str(path))
        np.save(rows, fed)
    return path, rows


def _outputs(trial: Trial) -> tuple[Array, ...]:
    if not trial.answered:
        return ()
    return tuple(np.asarray(output) for output in trial.answers().outputs)
