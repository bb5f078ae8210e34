"""What an ablation has found so far: a row a point, a word a pass, and the line above them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.studies.comparing import Comparisons
from harness.studies.effects import EFFECTS, effect_of, operators_changed
from harness.studies.passes import ALONE, WITHOUT, Ablation
from harness.studies.points import Point, Trial
from harness.studies.rewriting import FileForm

Document = dict[str, Any]
FileForms = Callable[[Sequence[Trial]], Mapping[str, FileForm]]
"""What the files hold that these trials' backend read, by the key of the point."""


@dataclass
class Findings:
    """The trials of an ablation, and what they say of its passes.

    Attributes:
        ablation: the points.
        compared: what reads and compares answers and compiled forms.
        file_forms: of a tool that rewrites files, what each trial's file holds; None: passes of a
            backend.
        looked: by the key of its point, each trial over the images of the first look.
        whole: likewise over all images; the same object where the first look is over all of them.
    """

    ablation: Ablation
    compared: Comparisons
    file_forms: FileForms | None = None
    looked: dict[str, Trial] = field(default_factory=dict)
    whole: dict[str, Trial] = field(default_factory=dict)

    def add(self, points: Sequence[Point], made: Sequence[Trial], *, whole: bool) -> None:
        """Take in the trials of points: of the first look, or over all images."""
        trials = {point.key: trial for point, trial in zip(points, made, strict=True)}
        if self.file_forms is not None:
            known = {**self.looked, **trials}
            self.compared.files.update(self.file_forms(list(known.values())))
        if not whole:
            self.looked.update(trials)
            return
        self.whole.update(trials)
        for key, trial in trials.items():
            if self.looked[key].key != trial.key:
                self.compared.compiled_twice(self.looked[key].fingerprint, trial.fingerprint)

    def add_timed(self, made: Sequence[Trial]) -> None:
        """See in trials that were timed whether the same, compiled again, was the same."""
        for trial in made:
            self.compared.compiled_twice(trial.fingerprint, trial.fingerprint_again)

    def untried(self) -> list[Point]:
        """The points that had no first look yet."""
        return [point for point in self.ablation.points if point.key not in self.looked]

    def acting(self) -> list[Point]:
        """What is to answer over all images: what changes something, and what it is compared with."""
        found: dict[str, Point] = {}
        for reference, others in self._compared_points():
            worth = [point for point in others if self._changes(point, reference, self.looked)]
            found.update((point.key, point) for point in (reference, *worth))
        return [point for point in found.values() if self.looked[point.key].answered]

    def to_time(self) -> list[tuple[Point, list[Point]]]:
        """Each reference with those that were compiled to something else than it."""
        found = []
        for reference, others in self._compared_points():
            worth = [point for point in others if self._changes(point, reference, self.whole)]
            if worth:
                found.append((reference, worth))
        return found

    def document(self) -> Document:
        """The fields of the study's document that say what was found."""
        rows = self._rows()
        passes = self._passes(rows)
        counts = {word: sum(one["effect"] == word for one in passes) for word in EFFECTS}
        return {
            "known": len(self.ablation.known),
            "images": self._count(self.whole),
            "first_look": self._count(self.looked),
            "passes": passes,
            "deterministic": self.compared.steady,
            "counts": {word: number for word, number in counts.items() if number},
            "rows": rows,
        }

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
            if point.key in self.looked
        ]
        self.compared.add_times(rows)
        return rows

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

    def _compared_points(self) -> list[tuple[Point, list[Point]]]:
        """All off and all on, each with what is compared with it."""
        plan = self.ablation
        return [
            (plan.off, [plan.on, *plan.alone.values()]),
            (plan.on, list(plan.without.values())),
        ]

    def _changes(self, point: Point, reference: Point, found: Mapping[str, Trial]) -> bool:
        """Whether both have answers, and it is not known that they are the same."""
        trial, against = found.get(point.key), found.get(reference.key)
        if trial is None or against is None or not (trial.answered and against.answered):
            return False
        return self.compared.change(trial, against).inert is not True

    def _count(self, found: Mapping[str, Trial]) -> int | None:
        """Over how many images answers are compared; None while there are none."""
        answered = next((trial for trial in found.values() if trial.answered), None)
        return self.compared.answers(answered).count if answered else None

    def _both(self, point: Point, against: Point | None) -> tuple[Trial, Trial | None]:
        """A trial and what it is compared with: over all images, or both of the first look."""
        whole = self.whole.get(point.key)
        if against is None:
            return whole or self.looked[point.key], None
        other = self.whole.get(against.key)
        if whole is not None and other is not None:
            return whole, other
        return self.looked[point.key], self.looked.get(against.key)

    def _row(self, arm: str, name: str | None, trial: Trial, against: Trial | None) -> Document:
        form = self.compared.files.get(trial.point.key)
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
        change = self.compared.change(trial, against)
        row.update(inert=change.inert, same_form=change.same_form, said=change.said)
        row["operators_changed"] = operators_changed(
            against.compiled.get("operators") or {}, trial.compiled.get("operators") or {}
        )
        row["file_changed"] = None if change.same_file is None else not change.same_file
        row["pair"] = self.compared.pair(against, trial) if change.inert is not True else None
        row["images"] = self.compared.answers(trial).count
        return row


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
            ("untried", "not tried"),
        )
        if counts.get(word)
    ]
    said = f"Of {total} pass{'es' * (total != 1)}: {', '.join(told) or 'nothing known'}"
    if document["deterministic"] is False:
        said += "; not deterministic: the same, compiled again, was something else"
    return said
