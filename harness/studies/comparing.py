"""What a trial is beside the one that it is compared with: what was compiled, answers, times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.analysis.pair_times import Timings, add_times
from harness.analysis.pairs import describe_pair, measure
from harness.errors import StoreError
from harness.store.load import CellAnswers, same_images
from harness.store.sessions import find_sessions
from harness.studies.effects import Change
from harness.studies.points import Trial
from harness.studies.rewriting import FileForm

Document = dict[str, Any]

_FLIPS_LISTED = 20


class Comparisons:
    """Trials beside each other; what was read and measured is kept.

    Args:
        store: the results folder.

    Attributes:
        files: of a tool that rewrites model files, what each made, by the key of the point.
        steady: whether what was compiled twice was the same each time; None: nothing was.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._answers: dict[str, CellAnswers] = {}
        self._pairs: dict[tuple[str, str], Document] = {}
        self.files: dict[str, FileForm] = {}
        self.steady: bool | None = None

    def answers(self, trial: Trial) -> CellAnswers:
        """What a trial answered.

        Raises:
            StoreError: it has no answers, or they are damaged.
        """
        if trial.key not in self._answers:
            self._answers[trial.key] = trial.answers()
        return self._answers[trial.key]

    def change(self, trial: Trial, against: Trial) -> Change:
        """Whether what was compiled, the answers and the files are the same; both have answers."""
        forms = against.fingerprint, trial.fingerprint
        same = None if None in forms else forms[0] == forms[1]
        files = self.files.get(against.point.key), self.files.get(trial.point.key)
        same_file = files[0].sha256 == files[1].sha256 if files[0] and files[1] else None
        identical = trial.key == against.key or self.pair(against, trial)["identical"]
        return Change(same, identical, same_file, self.steady)

    def compiled_twice(self, first: str | None, second: str | None) -> None:
        """Take note of two fingerprints of the same model with the same settings; None: not known."""
        if first is not None and second is not None:
            self.steady = first == second and self.steady is not False

    def pair(self, against: Trial, trial: Trial) -> Document:
        """Their answers compared, as `compare --json` prints them, still without times.

        Raises:
            StoreError: they answered different images.
        """
        place = (against.key, trial.key)
        if place not in self._pairs:
            a, b = self.answers(against), self.answers(trial)
            if not same_images(a.images, b.images):
                raise StoreError(
                    f"{trial.label} and {against.label} answered different images.",
                    "Run the study again with a fresh --store.",
                )
            found = measure(a, b)
            self._pairs[place] = describe_pair(a, b, found.flips, found, _FLIPS_LISTED)
        return self._pairs[place]

    def add_times(self, rows: Sequence[Document]) -> None:
        """Judge all that is compared with the same as one family; the inert are not in it."""
        pairs = [row["pair"] for row in rows if row["pair"] is not None]
        families: dict[str, list[Document]] = {}
        for pair in pairs:
            families.setdefault(pair["a"], []).append(pair)
        keys = {key for pair in pairs for key in (pair["a"], pair["b"])}
        add_times(families.values(), Timings(find_sessions(self._store, keys)))
