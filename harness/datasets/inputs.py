"""What a cell is fed with: one array on the disk, and what each of its rows stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.canonical import key_of
from harness.datasets.classes import Class


@dataclass(frozen=True, slots=True)
class Excluded:
    """An image that is left out of all cells alike, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PreparedInputs:
    """Inputs ready for the runner.

    Attributes:
        key: SHA-256 of what the array holds and how it was made; not of names or labels.
        path: a `.npy`; for `pixels` uint8 [N, H, W, 3], for `array` what the person gave.
        kind: `pixels` (still to be normalised by the recipe) or `array` (fed as it is).
        count: N.
        names: a name a row: paths relative to the data folder, or `row-00012`.
        labels: the ground truth of each row in the model's class space, None where unknown.
        sha256: of each image file's bytes, or of each row's.
        classes: the class list, where there is one.
        excluded: images left out.
        layout: how they were found: one of `layouts.LAYOUTS`, or `array`.
    """

    key: str
    path: Path
    kind: Literal["pixels", "array"]
    count: int
    names: tuple[str, ...]
    labels: tuple[int | None, ...]
    sha256: tuple[str, ...]
    classes: tuple[Class, ...] | None
    excluded: tuple[Excluded, ...]
    layout: str

    @property
    def images_key(self) -> str:
        """SHA-256 of which images these are, in their order, whoever made their pixels."""
        return key_of({"names": list(self.names), "sha256": list(self.sha256)})
