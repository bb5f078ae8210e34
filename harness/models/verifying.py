"""Verifying files: are they still what was recorded of them?"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import ModelError
from harness.models.entries import CheckpointEntry, seeded_folder
from harness.models.hashes import check_file
from harness.models.inspect import inspect_model
from harness.progress import Progress

State = Literal["ok", "missing", "changed", "corrupted", "unverified"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one file.

    Attributes:
        name: of the checkpoint.
        path: of the file; None where there is none.
        state: `ok`; `missing`; `changed`: another file than was recorded; `corrupted`: not the
            file that its publisher states, or not readable; `unverified`: nothing is recorded.
        detail: what was compared, or what is wrong.
    """

    name: str
    path: Path | None
    state: State
    detail: str

    @property
    def is_wrong(self) -> bool:
        """Whether something is to be done."""
        return self.state in {"missing", "changed", "corrupted"}


def verify(entries: Sequence[CheckpointEntry], progress: Progress, *, asked: bool) -> list[Verdict]:
    """Read the files of checkpoints and hold them against what is recorded.

    Args:
        entries: which.
        progress: is told which file is read.
        asked: whether these were named; if not, what was never fetched or made is left out.
    """
    found: list[Verdict] = []
    if not asked:
        entries = [one for one in entries if one.origin != "pretrained" or one.path is not None]
    with progress.task("Verifying", len(entries)) as task:
        for entry in entries:
            task.describe(f"Verifying {entry.name}")
            if entry.origin == "seeded":
                found += _seeded(entry, asked=asked)
            elif entry.origin == "file":
                found.append(_own(entry))
            elif entry.path is not None:
                found.append(_pretrained(entry, entry.path))
            else:
                remedy = f"not fetched: `harness model fetch {entry.name}`"
                found.append(Verdict(entry.name, None, "missing", remedy))
            task.advance()
    return found


def _pretrained(entry: CheckpointEntry, path: Path) -> Verdict:
    try:
        checked = check_file(path, entry)
    except OSError as error:
        return Verdict(entry.name, path, "corrupted", f"cannot be read: {error.strerror}")
    if checked.wrong:
        state: State = "changed" if checked.changed else "corrupted"
        return Verdict(entry.name, path, state, checked.wrong)
    if not checked.held_against:
        return Verdict(entry.name, path, "unverified", "no hash is published or recorded")
    return Verdict(entry.name, path, "ok", f"held against {' and '.join(checked.held_against)}")


def _own(entry: CheckpointEntry) -> Verdict:
    path = entry.path
    if path is None or not path.exists():
        return Verdict(entry.name, path, "missing", "the file is not there any more")
    try:
        file = inspect_model(path, entry.architecture)
    except ModelError as error:
        return Verdict(entry.name, path, "corrupted", error.message)
    if entry.sha256 is None:
        detail = f"no sha256 is recorded; it has {file.sha256}"
        return Verdict(entry.name, path, "unverified", detail)
    if file.sha256 != entry.sha256:
        detail = (
            f"the SHA-256 when it was added was {entry.sha256}; it has {file.sha256}. If that is "
            "meant, add it again with --replace"
        )
        return Verdict(entry.name, path, "changed", detail)
    return Verdict(entry.name, path, "ok", "held against the SHA-256 when it was added")


def _seeded(entry: CheckpointEntry, *, asked: bool) -> list[Verdict]:
    """Seeded weights carry the checksums of their archive; made again they may differ in bits."""
    assert entry.architecture is not None  # noqa: S101 - every seeded entry has one
    made = sorted(seeded_folder(entry.architecture).glob("*.npz"))
    if not made and asked:
        remedy = f"not made: `harness model fetch {entry.name} --data DIR`, or a sweep makes it"
        return [Verdict(entry.name, None, "missing", remedy)]
    return [_archive(entry.name, path) for path in made]


def _archive(name: str, path: Path) -> Verdict:
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        return Verdict(name, path, "corrupted", f"not a whole archive: {error}")
    if bad is not None:
        return Verdict(name, path, "corrupted", f"the checksum of {bad} in it does not agree")
    return Verdict(name, path, "ok", "held against the checksums of its archive")
