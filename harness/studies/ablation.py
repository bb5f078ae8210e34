"""`harness ablate passes`: what each pass of a compiler does to answers and times, one by one.

Answers come first, with proof of what was compiled: of every point over a few images, and over all
images of what was compiled to something else. Only that is timed, too: what is the same program
cannot be faster, and need not be asked five hundred times to be known for the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from harness.canonical import key_of
from harness.errors import UsageError
from harness.plan.cells import Cell
from harness.progress import Progress
from harness.studies import records
from harness.studies.ablation_findings import FileForms, Findings, headline
from harness.studies.comparing import Comparisons
from harness.studies.pass_names import backend_names
from harness.studies.passes import ARMS, of_backend, of_file
from harness.studies.points import Point
from harness.studies.rewriting import file_forms, passes_of
from harness.studies.trials import Trials

Document = dict[str, Any]

KIND = "ablate-passes"
AT_ONCE = 28
"""Points in one sweep: what an interruption costs the study's document, not the store."""

A_FEW = 4
BATCH_S = 90
"""About so long a sweep takes, where fewer points than `AT_ONCE` fill it: between two sweeps a
person is told how far it is, and what is known is kept."""

FIRST_LOOK = 8
"""Images over which it is found out what changes anything at all."""


def ablate(
    trials: Trials,
    progress: Progress,
    *,
    tool: str | None = None,
    chosen: Sequence[str] = (),
    arms: Sequence[str] = ARMS,
    timed: bool = True,
    first_look: int = FIRST_LOOK,
) -> Document:
    """Try the passes of a backend, or of a tool that rewrites ONNX files, one by one.

    Args:
        trials: the model, environment and backend.
        progress: where to report to.
        tool: `onnxoptimizer` or `onnxsim`; None: the backend's own passes.
        chosen: only these passes; all by default.
        arms: `alone`, `without`, or both.
        timed: also time what was compiled to something else.
        first_look: images that every point answers; only what changes something answers all.

    Returns:
        The study's document, as it is kept in the store.

    Raises:
        UsageError: there are no such passes, or the base is not one cell.
        HarnessError: nothing could be planned, or the store cannot be written.
    """
    cell = trials.cell()
    if why := trials.refusal():
        raise UsageError(
            f"No point of this ablation can run: {why}.",
            "Correct --setting; `harness env probe NAME` shows what each backend offers.",
        )
    forms: FileForms | None = None
    if tool is None:
        ablation = of_backend(
            backend_names(trials),
            backend=cell.backend,
            chosen=chosen,
            arms=arms,
            given=trials.given,
        )
    else:
        there = passes_of(trials, tool)
        ablation = of_file(tool, there.known, there.unasked, chosen=chosen, arms=arms)
        forms = partial(file_forms, trials.store, tool)
    document = records.begin(
        KIND,
        {
            "model": cell.model,
            "environment": cell.environment,
            "backend": cell.backend,
            "settings": dict(trials.given),
            "owner": tool or cell.backend,
            "timed": timed,
            "arms": list(arms),
            "question": key_of([cell.key, tool, list(chosen), sorted(arms), timed, first_look]),
        },
    )
    document = records.go_on(trials.store, document)
    looking = _looking(trials, first_look, progress)
    findings = Findings(ablation, Comparisons(trials.store), forms)
    return Study(trials, looking, findings, progress, document).run(timed=timed)


def _looking(trials: Trials, images: int, progress: Progress) -> Trials:
    """What takes the first look: over few images, unless these would be of another model.

    Weights that are drawn are fitted on the images, and static quantisation is calibrated on them.
    """
    fewer = trials.over(images)
    if fewer is trials or _executed(fewer.cell()) == _executed(trials.cell()):
        return fewer
    progress.note("The model depends on the images, so that every point answers all of them.")
    return trials


def _executed(cell: Cell) -> tuple[str, str | None]:
    return cell.model_sha256, cell.conversion.key if cell.conversion else None


@dataclass
class Study:
    """An ablation under way.

    Attributes:
        trials: what runs its points.
        looking: what runs every point first, over few images; or `trials` itself.
        findings: what is known so far.
        progress: where to report to.
        document: what is kept of it; see `docs/ablation.md`.
    """

    trials: Trials
    looking: Trials
    findings: Findings
    progress: Progress
    document: Document

    def run(self, *, timed: bool) -> Document:
        """Try everything, and keep what is known after each batch.

        Args:
            timed: time what was compiled to something else against all off, or all on.

        Returns:
            The document, complete.
        """
        if self.looking is self.trials:
            self.findings.whole = self.findings.looked
        self._keep("looked")
        if self._look():
            if self.looking is not self.trials:
                self._answer()
            if timed:
                self._time()
        self._keep(None)
        return self.document

    def _look(self) -> bool:
        """See what changes anything; False where nothing runs to compare it with."""
        plan = self.findings.ablation
        references = [plan.off, plan.on]
        with self.progress.task("Passes: what changes anything", total=len(plan.points)) as task:
            for batch in (references, *_batches(plan.points[len(references) :])):
                self.findings.add(batch, self.looking.run(batch), whole=False)
                if not any(self.findings.looked[point.key].answered for point in references):
                    return False
                self._keep("looked")
                task.advance(len(batch))
        return True

    def _answer(self) -> None:
        """Have what acts answer all images."""
        acting = self.findings.acting()
        with self.progress.task("Passes: answers", total=len(acting)) as task:
            for batch in _batches(acting):
                self.findings.add(batch, self.trials.run(batch), whole=True)
                self._keep("answered")
                task.advance(len(batch))

    def _time(self) -> None:
        """Time what acts, against all off and against all on."""
        for reference, others in self.findings.to_time():
            with self.progress.task(f"Passes: times against {reference.label}"):
                self.findings.add_timed(self.trials.run([reference, *others], timed=True))
            self._keep("timed")

    def _keep(self, after: str | None) -> None:
        """Keep what is known after a part of a step; None: all is done."""
        self.document.update(
            {
                "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "complete": after is None,
                "incomplete": [] if after is None else [self._missing(after)],
                **self.findings.document(),
                "sweeps": list(self.trials.sweeps),
            }
        )
        self.document["headline"] = headline(self.document)
        records.keep(self.trials.store, self.document)

    def _missing(self, after: str) -> str:
        if untried := self.findings.untried():
            points = len(self.findings.ablation.points)
            return f"{len(untried)} of {points} points are not tried yet"
        if after == "looked":
            return "what acts has not answered all images yet"
        return "what acts is not timed yet" if self.document["timed"] else "not all is compared yet"


def _batches(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """A few points first, then as many as take about `BATCH_S`, by what those before them took."""
    place, size = 0, A_FEW
    while place < len(points):
        batch = points[place : place + size]
        began = time.monotonic()
        yield batch
        each = max((time.monotonic() - began) / len(batch), 1e-9)
        place += len(batch)
        size = max(A_FEW, min(AT_ONCE, int(BATCH_S / each)))
