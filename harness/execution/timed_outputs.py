"""What a cell computed while it was timed, against what it answered before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ExecutionError, StoreError
from harness.execution.bundles import answers_folder, read_array
from harness.execution.workers import Worker

UNEQUAL_SHARE = 1e-3
"""Outputs that differ by more of their range than this are not those of the cell's answers.

Threads that add in another order, and kernels chosen for another batch, change float32 scores by
1e-6 of their range, and half precision by 1e-4. Stale buffers, a skipped layer or another model's
weights change them by 1e-2 and more.
"""

Array = npt.NDArray[Any]
Document = Mapping[str, Any]


def fetch(worker: Worker, work: Path, timeout_s: float) -> dict[str, Any]:
    """Have a worker write the outputs of its last timed call; `absent` holds why it cannot.

    Args:
        worker: whose.
        work: its folder, where it writes.
        timeout_s: how long it may take.
    """
    try:
        reply = worker.command({"command": "timed_outputs"}, timeout_s, lambda _: None)
    except ExecutionError as error:
        return {"absent": str(error)}
    return {
        "folder": str(work),
        "outputs": reply["outputs"],
        "first_row": reply["first_row"],
        "rows": reply["rows"],
    }


def compare(store: Path, key: str, fetched: Document, *, max_bytes: int = 2 << 30) -> Document:
    """How what was computed while timing differs from the committed answers of the same inputs.

    Args:
        store: the results folder.
        key: of the cell.
        fetched: what `fetch` gave.
        max_bytes: the most that a file of a runner may hold.

    Returns:
        `bitwise`, `equal` (the same within `UNEQUAL_SHARE`), `max_abs_diff` and `share_of_range`
        of the output that differs most (None where one holds no number and the other does); or
        `absent`, with the reason.
    """
    if "absent" in fetched:
        return {"absent": fetched["absent"]}
    folder = answers_folder(store, key)
    try:
        answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
        files = {int(output["index"]): folder / output["file"] for output in answers["outputs"]}
        first, rows = int(fetched["first_row"]), int(fetched["rows"])
        pairs = []
        for output in fetched["outputs"]:
            made = Path(fetched["folder"]) / Path(str(output["file"])).name
            timed = read_array(made, max_bytes=max_bytes)
            kept = np.load(files[int(output["index"])], mmap_mode="r", allow_pickle=False)
            pairs.append((kept[first : first + rows], timed))
        if not pairs or first < 0 or rows < 1:
            return {"absent": "the runner wrote no outputs of a timed call"}
        return _worst([_compared(kept, timed) for kept, timed in pairs])
    except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
        return {"absent": f"they cannot be compared with the answers: {error}"}
    except ExecutionError as error:
        return {"absent": str(error)}


def _compared(kept: Array, timed: Array) -> dict[str, Any]:
    """One output, [N, …] of each; a shape that differs in ones alone is the same."""
    if kept.size != timed.size or len(kept) != len(timed):
        return {"bitwise": False, "equal": False, "max_abs_diff": None, "share_of_range": None}
    a, b = np.asarray(kept).reshape(-1), np.asarray(timed).reshape(-1)
    if a.dtype == b.dtype and np.array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}")):
        return {"bitwise": True, "equal": True, "max_abs_diff": 0.0, "share_of_range": 0.0}
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return {"bitwise": False, "equal": False, "max_abs_diff": None, "share_of_range": None}
    if not finite.any():
        return {"bitwise": False, "equal": True, "max_abs_diff": 0.0, "share_of_range": 0.0}
    a, b = a[finite], b[finite]
    worst = float(np.abs(a - b).max())
    extent = float(a.max() - a.min())
    # Where all values are alike, their size says what a small difference is.
    extent = extent or float(np.abs(a).max())
    share = worst / extent if extent else (0.0 if worst == 0 else None)
    return {
        "bitwise": False,
        "equal": share is not None and share <= UNEQUAL_SHARE,
        "max_abs_diff": worst,
        "share_of_range": share,
    }


def _worst(found: list[dict[str, Any]]) -> dict[str, Any]:
    def rank(one: dict[str, Any]) -> tuple[bool, float]:
        share = one["share_of_range"]
        return (not one["equal"], float("inf") if share is None else float(share))

    worst = max(found, key=rank)
    return {**worst, "bitwise": all(one["bitwise"] for one in found)}
