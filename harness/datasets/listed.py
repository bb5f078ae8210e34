"""Ground truth from lists: lines of `name label`, and Hugging Face's metadata files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.datasets.classes import SynsetList
from harness.datasets.dataset import Dataset, Item, NameIndex, some
from harness.datasets.files import METADATA, Found
from harness.datasets.hugging_face import LABEL_COLUMNS
from harness.datasets.labels import NamedLabel, class_list_for, label_index, read_named_labels
from harness.datasets.splits import choose_split
from harness.datasets.text import read_lines
from harness.errors import DatasetError

_WHOLE_FLOAT = re.compile(r"-?\d+\.0")

LABEL_LISTS = ("val_map.txt", "val.txt", "LOC_val_solution.csv")


def from_list(root: Path, found: Found, listed: Path, synsets: SynsetList | None) -> Dataset:
    """Label images by a list of `name label` lines.

    Raises:
        DatasetError: a list that cannot be understood, a label outside the class list, two labels
            for one image, or a list none of whose names is there.
    """
    entries = read_named_labels(listed)
    return _joined(root, found, listed, entries, synsets, "labelled-files")


def find_metadata(root: Path, found: Found, split: str | None) -> tuple[Path | None, list[str]]:
    """The metadata file of a folder, or of one split's folder in it, and what to say about it.

    Raises:
        DatasetError: several splits, and none of them is meant.
    """
    folders: dict[str, str] = {}
    for path in found.others:
        pure = PurePosixPath(path)
        if pure.name in METADATA:
            folders.setdefault(pure.parent.as_posix(), path)
    if "." in folders and split is None:
        return root / folders["."], []
    by_split = {PurePosixPath(folder).name: folder for folder in folders if folder != "."}
    if not by_split:
        return None, []
    chosen, notes = choose_split(list(by_split), split, root)
    return root / folders[by_split[chosen]], notes


def from_metadata(
    root: Path, found: Found, listed: Path, synsets: SynsetList | None
) -> Dataset | None:
    """Label images by a `metadata.csv` or `metadata.jsonl` beside them.

    Its names are relative to its own folder, which becomes the dataset's root. An empty label or
    -1 is none.

    Returns:
        The dataset; None where the file has no column of labels.

    Raises:
        DatasetError: as `from_list`, or no column `file_name`.
    """
    rows = _json_rows(listed) if listed.suffix == ".jsonl" else _csv_rows(listed)
    columns = {key for _, row in rows for key in row}
    if "file_name" not in columns:
        raise DatasetError(
            f"{listed} has no column file_name.",
            "Metadata of images has the columns file_name and label.",
        )
    column = next((name for name in LABEL_COLUMNS if name in columns), None)
    if column is None:
        return None
    entries = [
        NamedLabel(str(row["file_name"]), _word(listed, number, row.get(column)), number)
        for number, row in rows
        if row.get("file_name")
    ]
    folder = listed.parent
    prefix = folder.relative_to(root).as_posix()
    if prefix != ".":
        paths = [p.removeprefix(f"{prefix}/") for p in found.paths if p.startswith(f"{prefix}/")]
        found = Found(paths, [], [], found.excluded, found.hidden)
    return _joined(folder, found, listed, entries, synsets, "metadata")


def _word(listed: Path, line: int, value: Any) -> str:
    """A label as text; empty for none."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DatasetError(
            f"{listed}, line {line}: {value!r} is no label of one image.",
            "A label is an index from 0, a WordNet id or a name.",
        )
    # A table with gaps writes whole numbers as floats.
    word = str(value).strip()
    if _WHOLE_FLOAT.fullmatch(word):
        word = word.removesuffix(".0")
    return "" if word == "-1" else word


def _csv_rows(listed: Path) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(f"{line}\n" for _, line in read_lines(listed))
    try:
        rows = [
            (reader.line_num, {k: v for k, v in row.items() if isinstance(k, str)})
            for row in reader
        ]
    except csv.Error as error:
        raise DatasetError(
            f"{listed}, line {reader.line_num}: {error}.", "Save it as plain CSV in UTF-8."
        ) from error
    return rows


def _json_rows(listed: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in read_lines(listed):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DatasetError(
                f"{listed}, line {number} is not JSON: {error}.", "Write one object a line."
            ) from error
        if not isinstance(row, dict):
            raise DatasetError(f"{listed}, line {number} is no object.", "Write one object a line.")
        rows.append((number, row))
    return rows


def _joined(
    root: Path,
    found: Found,
    listed: Path,
    entries: Sequence[NamedLabel],
    synsets: SynsetList | None,
    layout: str,
) -> Dataset:
    words = [e.word for e in entries if e.word]
    classes = class_list_for(words, (e.name for e in entries), synsets)
    index = NameIndex(found.paths)
    labels: dict[str, int | None] = {}
    absent: list[NamedLabel] = []
    for entry in entries:
        label = label_index(listed, entry.line, entry.word, classes) if entry.word else None
        path = index.find(entry.name, listed, entry.line)
        if path is None:
            absent.append(entry)
        elif labels.setdefault(path, label) != label:
            raise DatasetError(
                f"{listed}, line {entry.line}: {entry.name} has two labels, "
                f"{labels[path]} and {label}.",
                "Keep one line for each image.",
            )
    if not labels:
        first = f"the first is {entries[0].name!r}, " if entries else ""
        there = f"the first image is {found.paths[0]!r}" if found.paths else "there is no image"
        raise DatasetError(
            f"None of the {len(entries)} names in {listed} is an image below {root}: "
            f"{first}{there}.",
            "Names are paths relative to the data folder, or file names.",
        )
    notes = found.notes()
    if absent:
        notes.append(
            f"{len(absent)} of {len(entries)} names in {listed.name} are not in {root}: "
            f"{some([e.name for e in absent])}."
        )
    without = [path for path in found.paths if labels.get(path) is None]
    if without:
        notes.append(
            f"{len(without)} of {len(found.paths)} images have no label in {listed.name} and "
            f"count only between environments: {some(without)}."
        )
    return Dataset(
        root,
        tuple(Item(path, labels.get(path)) for path in found.paths),
        classes.classes if classes else None,
        layout,
        tuple(notes),
        found.excluded,
    )
