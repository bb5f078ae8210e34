"""`harness ablate passes`: what each pass of a compiler does to answers and times, one by one.

Answers come first, of every point, with proof of what was compiled. Only what was compiled to
something else is timed: what is the same program cannot be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from harness.analysis.pair_times import Timings, add_times
from harness.analysis.pairs import describe_pair, measure
from harness.errors import StoreError
from harness.progress import Progress
from harness.store.load import CellAnswers, same_images
from harness.store.sessions import find_sessions
from harness.studies import records
from harness.studies.effects import EFFECTS, Change, effect_of, operators_changed
from harness.studies.passes import ALONE, ARMS, WITHOUT, Ablation, of_backend, of_file
from harness.studies.rewriting import FileForm, file_forms, passes_of
from harness.studies.trials import Point, Trial, Trials

Document = dict[str, Any]
FileForms = Callable[[Sequence[Trial]], Mapping[str, FileForm]]
"""What the files hold that these trials' backend read, by the key of the point."""

KIND = "ablate-passes"
AT_ONCE = 28
"""Points in one sweep: what an interruption costs the study's document, not the store."""

_FLIPS_LISTED = 20


def known_passes(trials: Trials, tool: str | None = None) -> list[str]:
    """Every pass by name: of the backend, or of a tool that rewrites ONNX files.

    Raises:
        UsageError: it has none that can be named.
    """
    if tool is not None:
        return list(passes_of(trials, tool).known)
    names = trials.offer().get("names") or {}
    return list(of_backend(names, backend=trials.cell().backend).known)


def ablate(
    trials: Trials,
    progress: Progress,
    *,
    tool: str | None = None,
    chosen: Sequence[str] = (),
    arms: Sequence[str] = ARMS,
    timed: bool = True,
) -> Document:
    """Try the passes of a backend, or of a tool that rewrites ONNX files, one by one.

    Args:
        trials: the model, environment and backend.
        progress: where to report to.
        tool: `onnxoptimizer` or `onnxsim`; None: the backend's own passes.
        chosen: only these passes; all by default.
        arms: `alone`, `without`, or both.
        timed: also time what was compiled to something else.

    Returns:
        The study's document, as it is kept in the store.

    Raises:
        UsageError: there are no such passes, or the base is not one cell.
        HarnessError: nothing could be planned, or the store cannot be written.
    """
    cell = trials.cell()
    forms: FileForms | None = None
    if tool is None:
        names = trials.offer().get("names") or {}
        ablation = of_backend(
            names, backend=cell.backend, chosen=chosen, arms=arms, given=trials.given
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
        },
    )
    return Study(trials, ablation, progress, document, forms).run(timed=timed)


@dataclass
class Study:
    """An ablation under way.

    Attributes:
        trials: what runs its points.
        ablation: the points.
        progress: where to report to.
        document: what is known so far; see `docs/ablation.md`.
        file_forms: of a tool that rewrites files, what each made; None: passes of a backend.
    """

    trials: Trials
    ablation: Ablation
    progress: Progress
    document: Document
    file_forms: FileForms | None = None
    _found: dict[str, Trial] = field(default_factory=dict)
    _answers: dict[str, CellAnswers] = field(default_factory=dict)
    _pairs: dict[tuple[str, str], Document] = field(default_factory=dict)
    _files: dict[str, FileForm] = field(default_factory=dict)

    def run(self, *, timed: bool) -> Document:
        """Try everything, and keep what is known after each batch.

        Args:
            timed: time what was compiled to something else against all off, or all on.

        Returns:
            The document, complete.
        """
        points = self.ablation.points
        self._keep(complete=False)
        with self.progress.task("Passes: answers", total=len(points)) as task:
            for start in range(0, len(points), AT_ONCE):
                batch = points[start : start + AT_ONCE]
                self._try(batch)
                self._keep(complete=False)
                task.advance(len(batch))
        if timed:
            for reference, others in self._to_time():
                with self.progress.task(f"Passes: times against {reference.label}"):
                    self.trials.run([reference, *others], timed=True)
                self._keep(complete=False)
        self._keep(complete=True)
        return self.document

    def _try(self, batch: Sequence[Point]) -> None:
        for point, trial in zip(batch, self.trials.run(batch), strict=True):
            self._found[point.key] = trial
        if self.file_forms is not None:
            self._files.update(self.file_forms(list(self._found.values())))

    def _to_time(self) -> list[tuple[Point, list[Point]]]:
        """Each reference with those that were compiled to something else than it."""
        found = []
        for reference, others in (
            (self.ablation.off, [self.ablation.on, *self.ablation.alone.values()]),
            (self.ablation.on, list(self.ablation.without.values())),
        ):
            against = self._found[reference.key]
            worth = [
                point
                for point in others
                if against.answered
                and self._found[point.key].answered
                and self._change(self._found[point.key], against).inert is not True
            ]
            if worth:
                found.append((reference, worth))
        return found

    def _keep(self, *, complete: bool) -> None:
        rows = self._rows()
        passes = self._passes(rows)
        missing = [] if complete else self._missing()
        counts = {word: sum(one["effect"] == word for one in passes) for word in EFFECTS}
        self.document.update(
            {
                "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "complete": complete,
                "incomplete": missing,
                "known": len(self.ablation.known),
                "images": self._images(),
                "passes": passes,
                "counts": {word: number for word, number in counts.items() if number},
                "rows": rows,
                "sweeps": list(self.trials.sweeps),
            }
        )
        self.document["headline"] = headline(self.document)
        records.keep(self.trials.store, self.document)

    def _images(self) -> int | None:
        """Over how many images answers are compared; None while there are none."""
        answered = next((trial for trial in self._found.values() if trial.answered), None)
        return self._read(answered).count if answered else None

    def _missing(self) -> list[str]:
        untried = [p.label for p in self.ablation.points if p.key not in self._found]
        if untried:
            return [f"{len(untried)} of {len(self.ablation.points)} points are not tried yet"]
        return ["what acts is not timed yet"]

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
            self._row(
                arm,
                name,
                self._found[point.key],
                self._found.get(against.key) if against is not None else None,
            )
            for arm, name, point, against in listed
            if point.key in self._found
        ]
        self._add_times(rows)
        return rows

    def _row(self, arm: str, name: str | None, trial: Trial, against: Trial | None) -> Document:
        form = self._files.get(trial.point.key)
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
            **dict.fromkeys(("inert", "same_form", "file_changed", "operators_changed", "pair")),
            "said": "",
        }
        if against is None or not (trial.answered and against.answered):
            return row
        change = self._change(trial, against)
        row.update(inert=change.inert, same_form=change.same_form, said=change.said)
        row["operators_changed"] = operators_changed(
            against.compiled.get("operators") or {}, trial.compiled.get("operators") or {}
        )
        row["file_changed"] = None if change.same_file is None else not change.same_file
        row["pair"] = self._pair(against, trial) if change.inert is not True else None
        return row

    def _change(self, trial: Trial, against: Trial) -> Change:
        forms = against.fingerprint, trial.fingerprint
        same = None if None in forms else forms[0] == forms[1]
        files = self._files.get(against.point.key), self._files.get(trial.point.key)
        same_file = files[0].sha256 == files[1].sha256 if files[0] and files[1] else None
        identical = trial.key == against.key or self._pair(against, trial)["identical"]
        return Change(same, identical, same_file)

    def _pair(self, against: Trial, trial: Trial) -> Document:
        place = (against.key, trial.key)
        if place not in self._pairs:
            self._pairs[place] = self._compared(against, trial)
        return self._pairs[place]

    def _compared(self, against: Trial, trial: Trial) -> Document:
        a, b = self._read(against), self._read(trial)
        if not same_images(a.images, b.images):
            raise StoreError(
                f"{trial.label} and {against.label} answered different images.",
                "Run the ablation again with a fresh --store.",
            )
        found = measure(a, b)
        return describe_pair(a, b, found.flips, found, _FLIPS_LISTED)

    def _read(self, trial: Trial) -> CellAnswers:
        if trial.key not in self._answers:
            self._answers[trial.key] = trial.answers()
        return self._answers[trial.key]

    def _add_times(self, rows: Sequence[Document]) -> None:
        """Judge all that is compared with the same as one family; the inert are not in it."""
        pairs = [row["pair"] for row in rows if row["pair"] is not None]
        families: dict[str, list[Document]] = {}
        for pair in pairs:
            families.setdefault(pair["a"], []).append(pair)
        keys = {key for pair in pairs for key in (pair["a"], pair["b"])}
        add_times(families.values(), Timings(find_sessions(self.trials.store, keys)))


def headline(document: Mapping[str, Any]) -> str:
    """What an ablation found, in one line.

    Nothing is called inert before everything was tried.
    """
    counts, total = document["counts"], len(document["passes"])
    if not document["complete"]:
        return f"Incomplete: {'; '.join(document['incomplete'])}"
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
    return f"Of {total} pass{'es' * (total != 1)}: {', '.join(told) or 'nothing known'}"
