"""What a study tries, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.execution.bundles import answers_folder, is_whole
from harness.plan.cells import point_key
from harness.store import layout
from harness.store.compiled import Compiled, compiled_of
from harness.store.load import CellAnswers, load_cell

Document = dict[str, Any]

DONE, RESUMED, FAILED, SKIPPED = "done", "resumed", "failed", "skipped"


@dataclass(frozen=True)
class Point:
    """What is tried.

    Attributes:
        label: what to call it: `all but FuseOps`.
        settings: of the backend.
        wishes: of the conversions, by the axis's name: `{"optimise": "onnxsim"}`.
    """

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    wishes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """What tells it apart from other points."""
        return point_key(self.settings, self.wishes)


GIVEN = Point("as given")
"""The base itself."""


@dataclass(frozen=True)
class Trial:
    """What became of a point.

    Attributes:
        point: what was tried.
        status: `done`, `resumed`, `failed` or `skipped` (it cannot be tried, see `message`).
        key: the cell's key; empty where the point was skipped.
        kind: of the failure (`signal`, `timeout`, `unsupported` …); empty without one.
        message: why it failed or was skipped; empty where it has answers.
        sweep: id of the sweep that tried it.
        store: the results folder.
        inputs_key: names and labels that it is judged by.
        again: key of its A/A control, which compiled the same once more; empty without one.
    """

    point: Point
    status: str
    store: Path
    sweep: str
    key: str = ""
    kind: str = ""
    message: str = ""
    inputs_key: str = ""
    again: str = ""

    @property
    def label(self) -> str:
        """What the point is called."""
        return self.point.label

    @property
    def answered(self) -> bool:
        """Whether there are answers to read."""
        return self.status in {DONE, RESUMED}

    def answers(self) -> CellAnswers:
        """What the cell answered, memory-mapped.

        Raises:
            StoreError: it has no answers, or they are damaged.
        """
        if not self.answered:
            raise StoreError(f"{self.label} has no answers: {self.message}")
        return load_cell(self.store, self.key, self.inputs_key or None)

    @cached_property
    def compiled(self) -> Document:
        """What the model was compiled to; `{"absent": why}` where that is not known."""
        if not self.answered:
            return {"absent": "it has no answers"}
        return _compiled(self.store, self.key)

    @property
    def fingerprint(self) -> str | None:
        """Form and hash of what was compiled, in one text; None where that is not known."""
        return _fingerprint(self.compiled)

    @property
    def fingerprint_again(self) -> str | None:
        """The same of its A/A control; None where there is none, or that is not known."""
        there = self.again and is_whole(answers_folder(self.store, self.again))
        return _fingerprint(_compiled(self.store, self.again)) if there else None


def _compiled(store: Path, key: str) -> Document:
    path = answers_folder(store, key) / "answers.json"
    found = compiled_of(layout.read_document(path))
    return (found or Compiled(absent="it was not asked for")).document()


def _fingerprint(compiled: Document) -> str | None:
    return f"{compiled['form']}:{compiled['sha256']}" if compiled.get("sha256") else None
