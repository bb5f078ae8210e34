"""Reading timing sessions back: their members and every sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from harness.databases import connect
from harness.errors import StoreError
from harness.execution.bundles import session_folder, validate
from harness.store import layout
from harness.store.layout import Document

Integers = npt.NDArray[np.int64]

SINGLE_STREAM = "single_stream"
"""One query after another: what sessions were before they had scenarios."""

OF_ONE_CELL = frozenset({"shared-drift"})
"""Reasons against a cell's own times that its ratios to other cells are free of."""


@dataclass(frozen=True)
class Samples:
    """Samples of one cell in one session.

    Attributes:
        rounds: int64 [M], the round of each sample.
        durations_ns: int64 [M].
    """

    rounds: Integers = field(repr=False)
    durations_ns: Integers = field(repr=False)


@dataclass(frozen=True)
class Session:
    """One interleaved timing of a group of cells.

    Attributes:
        id: the session's name.
        document: session.json.
        path: the bundle.
        samples: by cell key.
    """

    id: str
    document: Document = field(repr=False)
    path: Path
    samples: dict[str, Samples] = field(repr=False)

    @property
    def created(self) -> str:
        """When it began, ISO 8601."""
        return str(self.document.get("created", ""))

    @property
    def control(self) -> str | None:
        """The key of the A/A control, if there was one."""
        key = self.document.get("control")
        return str(key) if key else None

    @property
    def reference(self) -> str | None:
        """The key of the cell that the others are timed against."""
        key = self.document.get("reference")
        return str(key) if key else None

    @property
    def scenario(self) -> str:
        """What was timed: `single_stream` or `offline`."""
        return str(self.document.get("scenario") or SINGLE_STREAM)

    @property
    def floor(self) -> float | None:
        """Relative differences below this were never to be claimed; None: not recorded."""
        found = self.document.get("floor")
        return float(found) if isinstance(found, int | float) else None

    @property
    def fresh(self) -> bool:
        """Whether each round was timed in processes of its own."""
        return bool(self.document.get("fresh_processes"))

    def batch(self, key: str) -> int | None:
        """Images a call of a member; None where the session does not say."""
        found = self.of(key, "batch")
        return int(found) if isinstance(found, int) and found > 0 else None

    def of(self, key: str, name: str) -> Any:
        """What the session recorded of a member under a name; None where there is nothing."""
        found = self.document.get(name)
        return found.get(key) if isinstance(found, dict) else None

    def validity(self, *keys: str) -> Validity:
        """Whether the times of these members may be believed, all of them together."""
        return validity_of(self.document, keys)

    def ratio_validity(self, *keys: str) -> Validity:
        """Whether the ratios of these members' times may be believed."""
        return ratio_validity(self.document, keys)

    @property
    def unjudged(self) -> tuple[str, ...]:
        """What the machine did not show, so that VALID says nothing about it."""
        found = self.document.get("validity")
        return tuple(map(str, found.get("unjudged") or ())) if isinstance(found, dict) else ()

    @cached_property
    def members(self) -> frozenset[str]:
        """Keys of the cells that have samples."""
        return frozenset(self.samples)


@dataclass(frozen=True)
class Validity:
    """Whether times may be believed.

    Attributes:
        valid: None where nobody judged, as in sessions that were recorded before.
        reasons: why not; each `kind`, `message`, and `key`, the member that it is about or None
            for the whole session.
    """

    valid: bool | None
    reasons: tuple[Document, ...] = ()


def validity_of(document: Document, keys: Iterable[str]) -> Validity:
    """What a session says of its members' times: its own reasons hold for each of them.

    Args:
        document: session.json.
        keys: of members; one that was not judged makes the whole not judged, unless there is a
            reason against it already.
    """
    return _validity_of(document, keys, frozenset())


def ratio_validity(document: Document, keys: Iterable[str]) -> Validity:
    """What it says of the ratios of their times: some reasons are against each one's own alone."""
    return _validity_of(document, keys, OF_ONE_CELL)


def _validity_of(document: Document, keys: Iterable[str], forgiven: frozenset[str]) -> Validity:
    found = document.get("validity")
    if not isinstance(found, dict):
        return Validity(None)
    judged = [(key, (found.get("cells") or {}).get(key)) for key in keys]
    reasons = [
        {"kind": one["kind"], "message": one["message"], "key": key}
        for key, said in ((None, {"reasons": found.get("session")}), *judged)
        for one in (said or {}).get("reasons") or ()
        if one["kind"] not in forgiven
    ]
    if reasons or any(said and not said["valid"] and not said["reasons"] for _, said in judged):
        return Validity(False, tuple(reasons))
    return Validity(None if any(said is None for _, said in judged) else True)


def load_session(store: Path, session_id: str) -> Session:
    """A session with all its samples.

    Raises:
        StoreError: the bundle is absent or damaged.
    """
    path = session_folder(store, session_id)
    validate(path)
    document = layout.read_document(path / "session.json")
    file = str(path / "timings.parquet")
    with connect() as connection:
        try:
            # A cell at a time: a key beside each of a million samples would take a gigabyte.
            found = connection.execute(
                "SELECT DISTINCT cell FROM read_parquet(?) ORDER BY cell", [file]
            ).fetchall()
            samples = {str(key): _samples(connection, file, key) for (key,) in found}
        except duckdb.Error as error:
            raise StoreError(
                f"{file} is damaged: {error}.",
                "Remove its folder; the next sweep times the cells again.",
            ) from error
    return Session(id=session_id, document=document, path=path, samples=samples)


def _samples(connection: duckdb.DuckDBPyConnection, file: str, key: str) -> Samples:
    columns = connection.execute(
        "SELECT round, duration_ns FROM read_parquet(?) WHERE cell = ? ORDER BY round, iteration",
        [file, key],
    ).fetchnumpy()
    return Samples(
        rounds=columns["round"].astype(np.int64),
        durations_ns=columns["duration_ns"].astype(np.int64),
    )


def find_sessions(store: Path, keys: Iterable[str], prefer: Iterable[str] = ()) -> list[Session]:
    """Sessions with samples of any of these cells: preferred ids first, then newest first.

    Damaged sessions are left out (the catalogue lists them in `problems`).
    """
    wanted, preferred = set(keys), set(prefer)
    found = []
    for path in layout.session_folders(store):
        try:
            document = layout.read_document(path / "session.json")
            if not wanted & {str(m.get("key")) for m in document.get("members", [])}:
                continue
            found.append(load_session(store, path.name))
        except StoreError:
            continue
    newest = sorted(found, key=lambda s: (s.created, s.id), reverse=True)
    return sorted(newest, key=lambda s: s.id not in preferred)
