"""Rows of a `.npy` file, whoever wrote it, and their even division into batches."""

from __future__ import annotations

from typing import Any, List

import numpy as np

from runner.errors import RunnerError, classify

_ZIP = b"PK"


def load_rows(path: str, what: str = "inputs") -> np.ndarray:
    """The array of a `.npy` file, memory-mapped read-only: numbers [N, ...].

    Args:
        path: of the file.
        what: the rows are, for messages.

    Raises:
        RunnerError: kind `job`, for a file that is absent, truncated, pickled, an archive of
            arrays (`.npz`), a single number, or that holds something else than numbers.
    """
    try:
        # NumPy would open an archive as such, and leave a damaged one open.
        with open(path, "rb") as file:
            is_archive = file.read(len(_ZIP)) == _ZIP
        rows: Any = None if is_archive else np.load(path, mmap_mode="r", allow_pickle=False)
    # A damaged header may raise nearly anything: it is parsed as Python's own literals are.
    except Exception as error:
        failed = classify(error, "job")
        message = f"{what} {path} can't be read (truncated or not a .npy file?): {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    if rows is None:
        raise RunnerError("job", f"{what} {path} are an archive (.npz): give one array, as .npy")
    if rows.ndim == 0:
        raise RunnerError("job", f"{what} {path} hold no array of rows")
    if rows.dtype.kind not in "biuf":
        raise RunnerError("job", f"{what} {path} hold {rows.dtype}, not numbers")
    mapped: np.ndarray = rows
    return mapped


def load_pixels(path: str, fewest: int = 1) -> np.ndarray:
    """Prepared pictures, memory-mapped read-only: uint8 or float32 [N, H, W, 3].

    Args:
        path: of the file.
        fewest: rows that there have to be.

    Raises:
        RunnerError: kind `job`, as `load_rows`, and for another shape or dtype, or too few rows.
    """
    rows = load_rows(path, "pixels")
    if rows.ndim != 4 or rows.shape[3] != 3 or rows.dtype.name not in ("uint8", "float32"):
        raise RunnerError(
            "job",
            "pixels must be uint8 or float32 [N, H, W, 3], and "
            f"{path} holds {rows.dtype.name} {list(rows.shape)}",
        )
    if len(rows) < fewest:
        message = f"pixels {path} hold {len(rows)} rows, and at least {fewest} are needed"
        raise RunnerError("job", message)
    return rows


def evenly(rows: np.ndarray, most: int, fewest: int) -> List[np.ndarray]:
    """Rows in batches whose sizes differ by one at most, so that each weighs like the others.

    Args:
        rows: [N, ...], N at least `fewest`.
        most: rows of a batch, unless `fewest` asks for more.
        fewest: rows of a batch.
    """
    batches = min(-(-len(rows) // most), len(rows) // fewest)
    return np.array_split(rows, max(batches, 1))
