"""Committing timing sessions: their samples checked, their outputs compared, their times judged."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.canonical import atomic_folder
from harness.errors import ExecutionError
from harness.execution.bundles import read_array, seal, session_folder, write_parquet
from harness.execution.timed_outputs import compare

_SAMPLES = "samples.jsonl"

Document = Mapping[str, Any]
Rows = npt.NDArray[np.int64]


def commit_session(
    store: Path, made: Path, outputs: Mapping[str, Document] | None = None
) -> dict[str, Any]:
    """Check a session's samples, judge them, and commit all; returns `session.json`.

    Args:
        store: the results folder.
        made: the folder that the conductor wrote to.
        outputs: what each member computed in its last timed call, as `timed_outputs.fetch` gives
            it, by key; compared with the committed answers.

    Raises:
        ExecutionError: kind `invalid-output`: the samples are not what was announced.
        StoreError: the store is full or read-only.
    """
    # SciPy takes most of a second to import: a sweep has that done while its first cells load.
    from harness.execution.validity import judge  # noqa: PLC0415

    document = json.loads((made / "session.json").read_text(encoding="utf-8"))
    positions = {int(member["position"]): str(member["key"]) for member in document["members"]}
    rows = _rows(made, positions)
    samples = _samples(made / _SAMPLES)
    document["outputs_equal"] = {
        key: compare(store, key, fetched) for key, fetched in (outputs or {}).items()
    }
    document["validity"] = judge(document, rows[:, 1], rows[:, 0], rows[:, 3], samples)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    session_id = f"{stamp}-{uuid.uuid4().hex[:6]}"
    document["id"] = session_id
    with atomic_folder(session_folder(store, session_id)) as staged:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (staged / "session.json").write_text(text + "\n", encoding="utf-8")
        if (made / _SAMPLES).is_file():
            shutil.copyfile(made / _SAMPLES, staged / _SAMPLES)
        names = np.empty(max(positions) + 1, dtype=object)
        for position, key in positions.items():
            names[position] = key
        write_parquet(
            staged / "timings.parquet",
            {
                "cell": names[rows[:, 0]],
                "round": rows[:, 1],
                "iteration": rows[:, 2],
                "duration_ns": rows[:, 3],
            },
            "cell::VARCHAR AS cell, round::INTEGER AS round, iteration::INTEGER AS iteration, "
            "duration_ns::BIGINT AS duration_ns",
        )
        seal(staged)
    return dict(document)


def reasons_against(document: Document) -> list[dict[str, str]]:
    """Why a session's times may not be believed: `kind` and `message`, and `key` of what cell's."""
    validity = document["validity"]
    return [
        *validity["session"],
        *(
            {**reason, "key": key}
            for key, cell in validity["cells"].items()
            for reason in cell["reasons"]
        ),
    ]


def _rows(made: Path, positions: Mapping[int, str]) -> Rows:
    """The samples, int64 [M, 4]: member, round, iteration, duration in nanoseconds."""
    rows = read_array(made / "timings.npy", max_bytes=8 << 30)
    if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != 4:
        raise ExecutionError("invalid-output", "The session's samples have a wrong form.")
    if not len(rows) or not positions or set(np.unique(rows[:, 0]).tolist()) != set(positions):
        raise ExecutionError("invalid-output", "The session holds no samples of its members.")
    if int(rows[:, 3].min()) <= 0:
        raise ExecutionError("invalid-output", "The session holds times that are not positive.")
    return rows


def _samples(path: Path) -> list[dict[str, Any]]:
    """The machine's samples; a conductor that was stopped leaves half a line, which is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
