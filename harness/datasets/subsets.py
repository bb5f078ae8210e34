"""A part of a dataset: by a list of files, by class, by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.datasets import sample
from harness.datasets.dataset import Dataset, NameIndex, some
from harness.datasets.text import read_lines
from harness.errors import DatasetError


def subset(
    dataset: Dataset,
    *,
    classes: Sequence[str | int] | None = None,
    only: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The images that are in a list, and of these those of some classes, and of these a sample.

    Args:
        dataset: the images; their order is kept.
        classes: indexes, WordNet ids or names.
        only: a file with a path or name a line, as in lists of labels.
        limit: at most so many: `sample.limit`.
        seed: of the sample.

    Raises:
        DatasetError: a class that there is none of or several, a list that cannot be read, or
            nothing left.
    """
    if only is not None:
        dataset = _listed(dataset, only.expanduser())
    if classes is not None:
        dataset = _of_classes(dataset, classes)
    return dataset if limit is None else sample.limit(dataset, limit, seed)


def _listed(dataset: Dataset, only: Path) -> Dataset:
    index = NameIndex(item.path for item in dataset.items)
    kept: set[str] = set()
    absent: list[str] = []
    for number, line in read_lines(only):
        name = line.strip()
        if not name:
            continue
        path = index.find(name, only, number)
        if path is None:
            absent.append(name)
        else:
            kept.add(path)
    if not kept:
        first = f" {absent[0]!r} is the first;" if absent else ""
        raise DatasetError(
            f"None of the {len(absent)} names in {only} is an image of {dataset.root}:{first} the "
            f"first image is {dataset.items[0].path!r}.",
            "Write a path relative to the data folder, or a file's name, on each line.",
        )
    notes = dataset.notes
    if absent:
        notes = (
            *notes,
            f"{len(absent)} names in {only} are no images of {dataset.root}: {some(absent)}.",
        )
    items = tuple(item for item in dataset.items if item.path in kept)
    return replace(dataset, items=items, notes=notes)


def _of_classes(dataset: Dataset, classes: Sequence[str | int]) -> Dataset:
    wanted = {_index(dataset, one): one for one in classes}
    items = tuple(item for item in dataset.items if item.label in wanted)
    if not items:
        labelled = {item.label for item in dataset.items} - {None}
        why = (
            f"there are images of {len(labelled)} other classes"
            if labelled
            else "no image has a label"
        )
        raise DatasetError(
            f"No image in {dataset.root} is of the classes {some([str(c) for c in classes])}: "
            f"{why}.",
            "Name classes that are there, by index, WordNet id or name.",
        )
    there = {item.label for item in items}
    empty = [str(one) for index, one in wanted.items() if index not in there]
    notes = dataset.notes
    if empty:
        notes = (*notes, f"There is no image of {len(empty)} of the classes: {some(empty)}.")
    return replace(dataset, items=items, notes=notes)


def _index(dataset: Dataset, word: str | int) -> int:
    """The class that a person means."""
    listed = dataset.classes or ()
    if isinstance(word, str):
        named = [c.index for c in listed if word in {c.wnid, c.name}]
        if not named:
            plain = _plain(word)
            named = [c.index for c in listed if _plain(c.name) == plain]
        if word.strip().isdecimal():
            named = sorted({*named, int(word)})
        if len(named) > 1:
            raise DatasetError(
                f"The class {word!r} may be {' or '.join(map(str, named))}.",
                "Name it by its index or by its WordNet id.",
            )
        if not named:
            raise DatasetError(
                f"There is no class {word!r} in the class list of {dataset.root}."
                if listed
                else f"{dataset.root} has no class list, so {word!r} says nothing.",
                "Name it by index, WordNet id or name, as the class list has it; a list is given "
                "with --synsets FILE.",
            )
        index = named[0]
    else:
        index = word
    if index < 0 or (listed and index >= len(listed)):
        raise DatasetError(
            f"The class {word} is outside the list of {len(listed) or 'all'} classes.",
            f"Indexes run from 0 to {len(listed) - 1}." if listed else "Indexes count from 0.",
        )
    return index


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
