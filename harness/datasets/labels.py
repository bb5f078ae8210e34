"""Lists of labels: `name label` for files, or one label a row for arrays."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from harness.datasets.classes import SynsetList, imagenet, looks_like_wnid
from harness.datasets.text import read_lines
from harness.errors import DatasetError

_FORMS = (
    "A list of labels has lines `name label` (separated by a space, a tab or a comma), "
    "where label is a WordNet id or an index from 0."
)


@dataclass(frozen=True, slots=True)
class NamedLabel:
    """A line of a list: a file's name as written, its label as written, and the line's number."""

    name: str
    word: str
    line: int


def read_named_labels(path: Path) -> list[NamedLabel]:
    """Read `name label` lines; a comma- or tab-separated file may have a header.

    In `LOC_val_solution.csv` the label is the first word of the second column.

    Raises:
        DatasetError: no such file, not text, or a line without a name and a label.
    """
    rows = _rows(path)
    if rows and _is_header(rows):
        rows = rows[1:]
    entries = []
    for number, cells in rows:
        if len(cells) < 2 or not cells[0] or not cells[1]:
            raise DatasetError(
                f"{path}, line {number}: {' '.join(cells)[:80]!r} has no name and label.", _FORMS
            )
        entries.append(NamedLabel(cells[0], cells[1].split()[0], number))
    if not entries:
        raise DatasetError(f"{path} holds no label.", _FORMS)
    return entries


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    lines = [(number, line) for number, line in read_lines(path) if line.strip()]
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return [
            (number, [cell.strip() for cell in next(csv.reader([line]))]) for number, line in lines
        ]
    if suffix == ".tsv" or (lines and all("\t" in line for _, line in lines)):
        return [(number, [cell.strip() for cell in line.split("\t")]) for number, line in lines]
    return [(number, line.strip().rsplit(maxsplit=1)) for number, line in lines]


def _is_header(rows: list[tuple[int, list[str]]]) -> bool:
    cells = rows[0][1]
    if len(cells) < 2 or PurePosixPath(cells[0]).suffix:
        return False
    heads = {"name", "file", "filename", "image", "imageid", "image_id", "path", "id"}
    return cells[0].lower() in heads and not _is_label(cells[1])


def _is_label(word: str) -> bool:
    return word.lstrip("+-").isdecimal() or looks_like_wnid(word)


def class_list_for(
    words: Iterable[str], names: Iterable[str], given: SynsetList | None
) -> SynsetList | None:
    """The class list that labels are read by: the given one, else ImageNet's where they say so.

    They say so by WordNet ids, or by files named as ILSVRC 2012 names its validation images.
    """
    if given is not None:
        return given
    if any(looks_like_wnid(word) for word in words):
        return imagenet()
    if any(PurePosixPath(name).name.startswith("ILSVRC2012_val_") for name in names):
        return imagenet()
    return None


def label_index(path: Path, line: int, word: str, classes: SynsetList | None) -> int:
    """The index that a label stands for.

    Raises:
        DatasetError: the label is outside the class list, or no index where there is none.
    """
    where = f"{path}, line {line}: label {word!r}"
    if word.isdecimal():
        index = int(word)
        if classes is not None and index >= len(classes):
            raise DatasetError(
                f"{where} is outside the list of {len(classes)} classes.",
                f"Indices run from 0 to {len(classes) - 1} ({classes.source}).",
            )
        return index
    found = classes.index_of(word) if classes is not None else None
    if found is None:
        if classes is not None:
            raise DatasetError(
                f"{where} is not in the class list {classes.source}.",
                "Give the full list of the model's classes with --synsets FILE.",
            )
        raise DatasetError(
            f"{where} is neither an index from 0 nor a WordNet id.",
            "Name the classes with --synsets FILE, or write indices.",
        )
    return found


def read_row_labels(path: Path, count: int, classes: SynsetList | None) -> tuple[int, ...]:
    """Labels for the rows of an array: a `.npy` of integers [count], or a label a line.

    Raises:
        DatasetError: another number of labels than rows, or a label that is outside the list.
    """
    if path.suffix.lower() == ".npy":
        words = _array_words(path)
    else:
        words = [(n, line.strip()) for n, line in read_lines(path) if line.strip()]
    if len(words) != count:
        raise DatasetError(
            f"{path} holds {len(words)} labels for {count} inputs.",
            "Give one label a row, in the order of the rows.",
        )
    known = class_list_for((word for _, word in words), (), classes)
    return tuple(label_index(path, number, word, known) for number, word in words)


def _array_words(path: Path) -> list[tuple[int, str]]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            f"Cannot read labels from {path}: {error}.", "Save integers with numpy.save."
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        raise DatasetError(
            f"{path} is not a one-dimensional array of integers.", "Save integers [N] as .npy."
        )
    return [(row, str(value)) for row, value in enumerate(array.tolist(), start=1)]
