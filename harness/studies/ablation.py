"""`harness ablate passes`: what each pass of a compiler does to answers and times, one by one.

Answers come first, with proof of what was compiled: of every point over a few images, and over all
images of what was compiled to something else. Only that is timed, too: what is the same program
cannot be faster, and need not be asked five hundred times to be known for the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from harness.canonical import key_of
from harness.errors import UsageError
from harness.plan.cells import Cell
from harness.progress import Progress
from harness.studies import records
from harness.studies.comparing import Comparisons
from harness.studies.effects import EFFECTS, effect_of, operators_changed
from harness.studies.pass_names import backend_names
from harness.studies.passes import ALONE, ARMS, WITHOUT, Ablation, of_backend, of_file
from harness.studies.rewriting import FileForm, file_forms, passes_of
from harness.studies.trials import Point, Trial, Trials

Document = dict[str, Any]
FileForms = Callable[[Sequence[Trial]], Mapping[str, FileForm]]
"""What the files hold that these trials' backend read, by the key of the point."""

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
    return Study(trials, ablation, progress, document, forms, looking).run(timed=timed)


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
        ablation: the points.
        progress: where to report to.
        document: what is known so far; see `docs/ablation.md`.
        file_forms: of a tool that rewrites files, what each made; None: passes of a backend.
        looking: what runs every point over few images first; None: `trials` itself.
    """

    trials: Trials
    ablation: Ablation
    progress: Progress
    document: Document
    file_forms: FileForms | None = None
    looking: Trials | None = None
    _found: dict[str, Trial] = field(default_factory=dict)
    _whole: dict[str, Trial] = field(default_factory=dict)
    _told: Comparisons = field(init=False)

    def __post_init__(self) -> None:
        """Answers are read from the store that the trials write to."""
        self._told = Comparisons(self.trials.store)

    def run(self, *, timed: bool) -> Document:
        """Try everything, and keep what is known after each batch.

        Args:
            timed: time what was compiled to something else against all off, or all on.

        Returns:
            The document, complete.
        """
        looking = self.looking or self.trials
        if looking is self.trials:
            self._whole = self._found
        self._keep("looked")
        if self._looked(looking):
            if self._whole is not self._found:
                self._answer()
            if timed:
                self._time()
        self._keep(None)
        return self.document

    def _looked(self, looking: Trials) -> bool:
        """See what changes anything; False where nothing runs to compare it with."""
        points = self.ablation.points
        references = [self.ablation.off, self.ablation.on]
        with self.progress.task("Passes: what changes anything", total=len(points)) as task:
            for batch in (references, *_batches(points[len(references) :])):
                self._found.update(self._tried(looking, batch))
                if not any(self._found[point.key].answered for point in references):
                    return False
                self._keep("looked")
                task.advance(len(batch))
        return True

    def _answer(self) -> None:
        """Have what acts answer all images."""
        acting = self._acting()
        with self.progress.task("Passes: answers", total=len(acting)) as task:
            for batch in _batches(acting):
                self._whole.update(self._tried(self.trials, batch))
                for point in batch:
                    looked, whole = self._found[point.key], self._whole[point.key]
                    if looked.key != whole.key:
                        self._told.compiled_twice(looked.fingerprint, whole.fingerprint)
                self._keep("answered")
                task.advance(len(batch))

    def _time(self) -> None:
        """Time what acts, against all off and against all on."""
        for reference, others in self._to_time():
            with self.progress.task(f"Passes: times against {reference.label}"):
                for trial in self.trials.run([reference, *others], timed=True):
                    self._told.compiled_twice(trial.fingerprint, trial.fingerprint_again)
            self._keep("timed")

    def _tried(self, trials: Trials, batch: Sequence[Point]) -> dict[str, Trial]:
        made = {p.key: trial for p, trial in zip(batch, trials.run(batch), strict=True)}
        if self.file_forms is not None:
            known = {**self._found, **made}
            self._told.files.update(self.file_forms(list(known.values())))
        return made

    def _pairs_of_points(self) -> list[tuple[Point, list[Point]]]:
        """All off and all on, each with what is compared with it."""
        plan = self.ablation
        return [
            (plan.off, [plan.on, *plan.alone.values()]),
            (plan.on, list(plan.without.values())),
        ]

    def _acting(self) -> list[Point]:
        """What is to answer over all images: what changes something, and what it is compared with."""
        found: dict[str, Point] = {}
        for reference, others in self._pairs_of_points():
            worth = [point for point in others if self._changes(point, reference, self._found)]
            found.update((point.key, point) for point in (reference, *worth))
        return [point for point in found.values() if self._found[point.key].answered]

    def _changes(self, point: Point, reference: Point, found: Mapping[str, Trial]) -> bool:
        """Whether both have answers, and it is not known that they are the same."""
        trial, against = found.get(point.key), found.get(reference.key)
        if trial is None or against is None or not (trial.answered and against.answered):
            return False
        return self._told.change(trial, against).inert is not True

    def _to_time(self) -> list[tuple[Point, list[Point]]]:
        """Each reference with those that were compiled to something else than it."""
        found = []
        for reference, others in self._pairs_of_points():
            worth = [point for point in others if self._changes(point, reference, self._whole)]
            if worth:
                found.append((reference, worth))
        return found

    def _keep(self, after: str | None) -> None:
        """Keep what is known after a part of a step; None: all is done."""
        complete = after is None
        rows = self._rows()
        passes = self._passes(rows)
        missing = [] if after is None else self._missing(after)
        counts = {word: sum(one["effect"] == word for one in passes) for word in EFFECTS}
        self.document.update(
            {
                "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "complete": complete,
                "incomplete": missing,
                "known": len(self.ablation.known),
                "images": self._count(self._whole),
                "first_look": self._count(self._found),
                "passes": passes,
                "deterministic": self._told.steady,
                "counts": {word: number for word, number in counts.items() if number},
                "rows": rows,
                "sweeps": list(self.trials.sweeps),
            }
        )
        self.document["headline"] = headline(self.document)
        records.keep(self.trials.store, self.document)

    def _count(self, found: Mapping[str, Trial]) -> int | None:
        """Over how many images answers are compared; None while there are none."""
        answered = next((trial for trial in found.values() if trial.answered), None)
        return self._told.answers(answered).count if answered else None

    def _missing(self, after: str) -> list[str]:
        untried = [p.label for p in self.ablation.points if p.key not in self._found]
        if untried:
            return [f"{len(untried)} of {len(self.ablation.points)} points are not tried yet"]
        said = "what acts is not timed yet" if self.document["timed"] else "not all is compared yet"
        return ["what acts has not answered all images yet"] if after == "looked" else [said]

    def _passes(self, rows: Sequence[Document]) -> list[Document]:
        by_pass: dict[str, dict[str, Document]] = {}
        for row in rows:
            if row["pass"] is not None:
                by_pass.setdefault(row["pass"], {})[row["arm"]] = row
        return [
            {
                "name": name,
                "effect": effect_of(by_pass.get(name, {}), self.ablation.ways[name]),
                **{
                    arm: (by_pass.get(name, {}).get(arm) or {}).get("key")
                    for arm in (ALONE, WITHOUT)
                },
            }
            for name in self.ablation.chosen
        ]

    def _rows(self) -> list[Document]:
        """A row for each point that was tried, times and all."""
        plan = self.ablation
        listed: list[tuple[str, str | None, Point, Point | None]] = [
            ("off", None, plan.off, None),
            ("on", None, plan.on, plan.off),
            *((ALONE, name, point, plan.off) for name, point in plan.alone.items()),
            *((WITHOUT, name, point, plan.on) for name, point in plan.without.items()),
        ]
        rows = [
            self._row(arm, name, *self._both(point, against))
            for arm, name, point, against in listed
            if point.key in self._found
        ]
        self._told.add_times(rows)
        return rows

    def _both(self, point: Point, against: Point | None) -> tuple[Trial, Trial | None]:
        """A trial and what it is compared with: over all images, or both of the first look."""
        whole = self._whole.get(point.key)
        if against is None:
            return whole or self._found[point.key], None
        other = self._whole.get(against.key)
        if whole is not None and other is not None:
            return whole, other
        return self._found[point.key], self._found.get(against.key)

    def _row(self, arm: str, name: str | None, trial: Trial, against: Trial | None) -> Document:
        form = self._told.files.get(trial.point.key)
        row: Document = {
            "arm": arm,
            "pass": name,
            "label": trial.label,
            "against": against.label if against else None,
            "key": trial.key or None,
            "status": trial.status,
            "kind": trial.kind or None,
            "message": trial.message or None,
            "compiled": trial.compiled,
            "file": form.document() if form else None,
            **dict.fromkeys(("inert", "same_form", "file_changed", "operators_changed")),
            **dict.fromkeys(("pair", "images")),
            "said": "",
        }
        if against is None or not (trial.answered and against.answered):
            return row
        change = self._told.change(trial, against)
        row.update(inert=change.inert, same_form=change.same_form, said=change.said)
        row["operators_changed"] = operators_changed(
            against.compiled.get("operators") or {}, trial.compiled.get("operators") or {}
        )
        row["file_changed"] = None if change.same_file is None else not change.same_file
        row["pair"] = self._told.pair(against, trial) if change.inert is not True else None
        row["images"] = self._told.answers(trial).count
        return row


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


def headline(document: Mapping[str, Any]) -> str:
    """What an ablation found, in one line.

    Nothing is called inert before everything was tried.
    """
    counts, total = document["counts"], len(document["passes"])
    if not document["complete"]:
        return f"Incomplete: {'; '.join(document['incomplete'])}"
    references = [row for row in document["rows"] if row["arm"] in {"off", "on"}]
    if all(row["status"] in {"failed", "skipped"} for row in references):
        return (
            "Runs neither with all passes off nor with all on: no pass is to blame, none was tried"
        )
    told = [
        f"{counts[word]} {phrase}"
        for word, phrase in (
            ("acts", "acting"),
            ("redundant", "redundant"),
            ("together", "acting only together"),
            ("fails", "failing"),
            ("refused", "refused"),
            ("inert", "inert"),
            ("unknown", "not to be told"),
            ("half", "without effect in the one way tried"),
        )
        if counts.get(word)
    ]
    said = f"Of {total} pass{'es' * (total != 1)}: {', '.join(told) or 'nothing known'}"
    if document["deterministic"] is False:
        said += "; not deterministic: the same, compiled again, was something else"
    return said
