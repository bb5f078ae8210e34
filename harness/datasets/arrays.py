"""Inputs as the person gives them: rows of one NumPy file."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from harness.canonical import atomic_folder, key_of, sha256_file, storage_errors
from harness.datasets.classes import SynsetList
from harness.datasets.inputs import PreparedInputs
from harness.datasets.labels import read_row_labels
from harness.errors import DatasetError
from harness.progress import Progress


def count_rows(path: Path) -> int:
    """How many inputs a `.npy` file holds: the length of its first axis.

    Raises:
        DatasetError: not a `.npy` file of numbers, or no rows.
    """
    return len(_open(path.expanduser()))


def from_array(
    path: Path,
    labels: Path | None,
    cache: Path,
    progress: Progress,
    limit: int | None = None,
    synsets: SynsetList | None = None,
    seed: int = 0,
) -> PreparedInputs:
    """Take the rows of a `.npy` file as inputs; its first axis counts them.

    The file is used where it lies. A sample of its rows, or a file in another byte order or in
    Fortran order, is written to `cache`/arrays/<key> first. The key is over the file's bytes and
    the rows taken.

    Args:
        path: an array [N, ...] of numbers.
        labels: a label a line, or a `.npy` of integers [N]; None for no ground truth.
        cache: the cache folder.
        progress: where hashing reports to.
        limit: at most so many rows: a seeded sample spread over the labels.
        synsets: the class list that labels are read by.
        seed: of the sample.

    Raises:
        DatasetError: not a `.npy` file of numbers, no rows, or labels that do not fit.
        StoreError: the cache cannot be written.
    """
    path = path.expanduser()
    array = _open(path)
    truth = read_row_labels(labels, len(array), synsets) if labels else (None,) * len(array)
    if limit is not None and limit < 1:
        raise DatasetError(f"A sample of {limit} rows is empty.", "Give --limit 1 or more.")
    rows = list(range(len(array)))
    if limit is not None and limit < len(array):
        rows = _sample(truth, limit, seed)
    with progress.task(f"Reading {path.name}", total=len(rows)) as task:
        digest = sha256_file(path)
        row_digests = []
        for row in rows:
            row_digests.append(
                hashlib.sha256(np.ascontiguousarray(array[row]).tobytes()).hexdigest()
            )
            task.advance()
    whole = len(rows) == len(array)
    key = key_of({"array": digest, "rows": None if whole else rows})
    kept = path.resolve()
    if not whole or not array.dtype.isnative or not array.flags.c_contiguous:
        kept = _copy(array, rows, cache / "arrays" / key)
    return PreparedInputs(
        key=key,
        path=kept,
        kind="array",
        count=len(rows),
        names=tuple(f"row-{row:05d}" for row in rows),
        labels=tuple(truth[row] for row in rows),
        sha256=tuple(row_digests),
        classes=synsets.classes if synsets else None,
        excluded=(),
        layout="array",
    )


def _open(path: Path) -> NDArray[np.generic]:
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.", "Give an array with --inputs X.npy.")
    if path.suffix.lower() == ".npz":
        raise DatasetError(f"{path} is an archive of arrays.", "Save one array with numpy.save.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            f"{path} is not a whole .npy file of numbers: {str(error).splitlines()[0]}",
            "Save the inputs with numpy.save; arrays of Python objects are not read.",
        ) from error
    if not isinstance(array, np.ndarray):
        raise DatasetError(f"{path} is not a .npy file.", "Save one array with numpy.save.")
    if array.dtype.kind not in "fiub":
        raise DatasetError(
            f"{path} holds values of type {array.dtype}.", "Inputs are numbers: floats or integers."
        )
    if array.ndim < 2 or 0 in array.shape:
        raise DatasetError(
            f"{path} has the shape {list(array.shape)}: there is no input in it.",
            "The first axis counts the inputs, the others are the model's input without batch.",
        )
    return array


def _sample(truth: tuple[int | None, ...], limit: int, seed: int) -> list[int]:
    by_class: dict[int | None, list[int]] = defaultdict(list)
    for row, label in enumerate(truth):
        by_class[label].append(row)

    def rank(text: str) -> bytes:
        return hashlib.sha256(f"{seed}:{text}".encode()).digest()

    turns = []
    for label, rows in by_class.items():
        ordered = sorted(rows, key=lambda row: rank(f"row {row}"))
        turns += [(turn, rank(f"class {label}"), row) for turn, row in enumerate(ordered)]
    return sorted(row for _, _, row in sorted(turns)[:limit])


def _copy(array: NDArray[np.generic], rows: list[int], target: Path) -> Path:
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not (target / "inputs.npy").is_file():
                for cut in target.parent.glob(f".{target.name}.*.staged"):
                    shutil.rmtree(cut, ignore_errors=True)
                with atomic_folder(target) as staged:
                    chosen = np.ascontiguousarray(array[rows])
                    np.save(staged / "inputs.npy", chosen.astype(chosen.dtype.newbyteorder("=")))
    return target / "inputs.npy"
