"""Whether a file of weights is the one that it should be: by the hashes that are known of it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.canonical import write_json
from harness.models.caches import own_place
from harness.models.entries import CheckpointEntry
from harness.models.file_content import content_of

_CHUNK_BYTES = 1 << 20
_NO_WEIGHTS = frozenset({"empty", "git-lfs", "web-page"})
"""What is never believed at first sight, where no hash is known."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Checked:
    """A file whose bytes were read.

    Attributes:
        sha256: of the bytes.
        size_bytes: how many.
        held_against: what it was compared with, in words; empty where nothing is known.
        wrong: what does not agree, in words; empty for a good file.
        changed: it is not what was seen here before, though upstream's own hashes (if any) agree.
    """

    sha256: str
    size_bytes: int
    held_against: tuple[str, ...]
    wrong: str
    changed: bool


def check_file(path: Path, entry: CheckpointEntry, stated: str | None = None) -> Checked:
    """Read a file and hold it against every hash that is known of a pretrained entry.

    Args:
        path: the file.
        entry: whose file it should be.
        stated: a SHA-256 that its server stated as it was sent.
    """
    sha256, md5, size = _digests(path)
    known = [
        ("the SHA-256 that its library states", entry.sha256, sha256),
        ("the SHA-256 in its name", entry.sha256_prefix, sha256[: len(entry.sha256_prefix or "")]),
        ("the MD5 that its library states", entry.md5, md5),
        ("the SHA-256 that the hub states", stated or _blob(path), sha256),
    ]
    compared = tuple(what for what, expected, _ in known if expected)
    for what, expected, found in known:
        if expected and expected != found:
            return Checked(sha256, size, compared, f"{what} is {expected}; it has {found}", False)
    seen = recorded(entry).get("sha256")
    if seen and seen != sha256:
        wrong = f"the SHA-256 when it was first seen here was {seen}; it has {sha256}"
        return Checked(sha256, size, compared, wrong, True)
    if not compared and not seen and (content := content_of(path)).kind in _NO_WEIGHTS:
        return Checked(sha256, size, (), f"it is {content.said}", False)
    return Checked(
        sha256, size, (*compared, *(("what was first seen here",) if seen else ())), "", False
    )


def record_path(entry: CheckpointEntry) -> Path:
    """Where it is kept what the file of an entry was, beside harness's own copy of it."""
    own = own_place(entry)
    return own.with_name(f"{own.name}.json")


def recorded(entry: CheckpointEntry) -> dict[str, Any]:
    """What was remembered of the file of an entry; empty where nothing was."""
    try:
        document = json.loads(record_path(entry).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def remember(entry: CheckpointEntry, checked: Checked) -> None:
    """Keep the hash of a good file, so that a later one can be held against it.

    Where upstream states no hash this is all there is: the first file is believed.

    Raises:
        StoreError: a folder that cannot be written.
    """
    if recorded(entry).get("sha256") == checked.sha256:
        return
    document = {
        "schema_version": 1,
        "name": entry.name,
        "url": entry.url,
        "sha256": checked.sha256,
        "size_bytes": checked.size_bytes,
        "held_against": list(checked.held_against),
        "seen": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(record_path(entry), document)


def known_hash(entry: CheckpointEntry) -> str:
    """What is known of a file's hash, for a person who fetches it by other means."""
    if entry.sha256:
        return f"SHA-256 {entry.sha256}"
    seen = recorded(entry).get("sha256")
    if seen:
        return f"SHA-256 {seen}, as first seen here"
    if entry.sha256_prefix:
        return f"SHA-256 begins {entry.sha256_prefix}"
    return f"MD5 {entry.md5}" if entry.md5 else "no hash is published"


def _digests(path: Path) -> tuple[str, str, int]:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return sha256.hexdigest(), md5.hexdigest(), size


def _blob(path: Path) -> str | None:
    """The hub's cache names the file behind a link by its SHA-256."""
    real = path.resolve()
    named = real.parent.name == "blobs" and _SHA256.fullmatch(real.name)
    return real.name if named else None
