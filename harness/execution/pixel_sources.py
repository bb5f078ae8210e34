"""The pixels that a sweep needs, each made once, over images that all who make them can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.canonical import key_of
from harness.datasets.dataset import Dataset
from harness.datasets.inputs import Excluded, PreparedInputs
from harness.datasets.pixels import prepare
from harness.datasets.recipes import Geometry, Recipe, geometry
from harness.errors import DatasetError
from harness.execution.preparing import corrupt_in, prepare_in, reasons
from harness.execution.side_jobs import Bench
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.feeding import Corruptor, Preprocessor


@dataclass(frozen=True)
class Source:
    """Pixels to be made, once for all who want the same.

    Attributes:
        recipe: its geometry counts.
        height: of the model's input.
        width: likewise.
        squash: resize without keeping the aspect.
        how: who decodes and resizes; None: the harness.
        bench: where that is done.
        corruptor: what is done to them; None: nothing.
        corrupts: where that is done.
    """

    recipe: Recipe
    height: int
    width: int
    squash: bool
    how: Preprocessor | None
    bench: Bench | None
    corruptor: Corruptor | None
    corrupts: Bench | None

    @property
    def geometry(self) -> Geometry:
        """Sizes and method."""
        return geometry(self.recipe, self.height, self.width, squash=self.squash)

    @property
    def key(self) -> str:
        """Equal for sources that give the same pixels."""
        return key_of(
            {
                "geometry": self.geometry.document(),
                "how": self.how.text if self.how else None,
                "bench": self.bench.env.identity if self.bench else None,
                "corruptor": f"{self.corruptor.name}:{self.corruptor.severity}"
                if self.corruptor
                else None,
                "corrupts": self.corrupts.env.identity if self.corrupts else None,
            }
        )


def prepare_all(
    sources: Sequence[Source], dataset: Dataset, progress: Progress
) -> dict[str, PreparedInputs]:
    """The pixels of every source, by its key, over the images that all of them can use.

    Raises:
        DatasetError: there is no such image, or a source cannot be made.
    """
    unique = {source.key: source for source in sources}
    noted: set[Excluded] = set()
    while True:
        made, failed = _make_all(unique, dataset, progress)
        excluded = {e for one in made.values() for e in one.excluded}
        for one in sorted(excluded - noted, key=lambda e: e.name):
            progress.note(f"Left out of all cells: {one.name}: {one.reason}")
        noted |= excluded
        lost = _lost(dataset, made, failed)
        if not lost:
            return made
        dataset = replace(
            dataset,
            items=tuple(item for item in dataset.items if item.path not in lost),
            excluded=(*dataset.excluded, *(Excluded(n, r) for n, r in sorted(lost.items()))),
        )
        if not dataset.items:
            name, reason = min(lost.items())
            raise DatasetError(
                "No image can be used by everybody who is to prepare it.", f"{name}: {reason}."
            )


def _lost(
    dataset: Dataset, made: Mapping[str, PreparedInputs], failed: Mapping[str, str]
) -> dict[str, str]:
    """Images that not every source can use and not every one has excluded, with the reason."""
    if not made:
        return {}
    everywhere = set.intersection(*(set(one.names) for one in made.values()))
    excluded = set.intersection(*({e.name for e in one.excluded} for one in made.values()))
    why = {e.name: e.reason for one in made.values() for e in one.excluded} | dict(failed)
    gone = {item.path for item in dataset.items} - everywhere - excluded
    return {name: why.get(name, "") for name in gone}


def _make_all(
    sources: Mapping[str, Source], dataset: Dataset, progress: Progress
) -> tuple[dict[str, PreparedInputs], dict[str, str]]:
    made: dict[str, PreparedInputs] = {}
    failed: dict[str, str] = {}
    references: dict[str, PreparedInputs] = {}
    for key, source in sources.items():
        shape = key_of(source.geometry.document())
        if shape not in references:
            references[shape] = prepare(
                dataset,
                source.recipe,
                source.height,
                source.width,
                cache_dir(),
                progress,
                squash=source.squash,
            )
        pixels = references[shape]
        if source.how is not None and source.bench is not None:
            found = prepare_in(
                source.bench, source.how, pixels, dataset.root, source.geometry, progress
            )
            pixels = found.inputs
            failed |= reasons([found])
        if source.corruptor is not None and source.corrupts is not None:
            _check_8_bits(source, pixels)
            found = corrupt_in(source.corrupts, source.corruptor, pixels, source.geometry, progress)
            pixels = found.inputs
            failed |= reasons([found])
        made[key] = pixels
    return made, failed


def _check_8_bits(source: Source, pixels: PreparedInputs) -> None:
    made = np.load(pixels.path, mmap_mode="r", allow_pickle=False).dtype
    if made != np.uint8:
        how = source.how.text if source.how else "reference"
        raise DatasetError(
            f"{how} makes {made} pixels, and corruptions are defined on 8 bits.",
            "Corrupt the reference pixels: leave --preprocessing away, or sweep the two apart.",
        )
