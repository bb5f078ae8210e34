"""Fetching pretrained weights: from this machine's caches, else from their library's own server."""

from __future__ import annotations

import time
from pathlib import Path

from filelock import FileLock

from harness.canonical import storage_errors
from harness.errors import ModelError, StoreError
from harness.models.caches import library_places, own_place
from harness.models.download import Rules, UnreachableError, download
from harness.models.entries import CheckpointEntry
from harness.models.hashes import Checked, check_file, known_hash, record_path, remember
from harness.progress import Progress


def fetch(
    entry: CheckpointEntry,
    progress: Progress,
    *,
    offline: bool = False,
    rules: Rules | None = None,
) -> Path:
    """The file of a pretrained checkpoint, on this machine and held against its hashes.

    It is looked for in harness's own cache, then in those of PyTorch, Keras and the Hugging Face
    hub (used where they are), then downloaded into harness's own.

    Args:
        entry: a pretrained one.
        progress: is told what is done.
        offline: never asks a server.
        rules: how to download; None for the usual rules.

    Raises:
        ModelError: no network and no file (it says which file belongs where), a file that is not
            what it should be (it is kept aside), or an entry that has no file to fetch.
        StoreError: a cache that cannot be written, where it has to be.
    """
    own = own_place(entry)
    # A file that is there is used without a lock: the cache may be one that is only read.
    found = _good(entry, own, progress)
    is_wrong = found is None and own.is_file()
    if not is_wrong:
        found = found or _of_libraries(entry, progress)
        if found is not None:
            return found
        if offline:
            raise ModelError(f"{entry.name} is not on this machine.", by_hand(entry))
    lock = FileLock(f"{own}.lock")
    with storage_errors(own):
        own.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        # Another process may have fetched it meanwhile.
        found = _good(entry, own, progress, aside=True)
        if found is None and is_wrong:
            found = _of_libraries(entry, progress)
        if found is not None:
            return found
        if offline:
            raise ModelError(f"{entry.name} is not on this machine.", by_hand(entry))
        return _download(entry, own, progress, rules)
    finally:
        lock.release()


def by_hand(entry: CheckpointEntry) -> str:
    """What a person without a network has to put where."""
    own = own_place(entry)
    size = f", about {entry.size_bytes / 1e6:.1f} MB" if entry.size_bytes else ""
    return (
        f"Fetch {own.name}{size} ({known_hash(entry)}) from\n  {entry.url}\n  on a machine that "
        f"has a network, and put it into\n  {own.parent}"
    )


def _good(
    entry: CheckpointEntry, own: Path, progress: Progress, *, aside: bool = False
) -> Path | None:
    """Harness's own copy, where it is right; a wrong one is put aside only under the lock."""
    checked = _checked(entry, own, progress)
    if checked is None:
        return None
    if not checked.wrong:
        _remember(entry, checked, progress)
        return own
    if aside:
        kept = _set_aside(own)
        believe = f" To believe a new file, remove {record_path(entry)}." if checked.changed else ""
        progress.note(
            f"{own} is not whole or was changed: {checked.wrong}. Kept as {kept}.{believe}"
        )
    return None


def _of_libraries(entry: CheckpointEntry, progress: Progress) -> Path | None:
    for path in library_places(entry):
        checked = _checked(entry, path, progress)
        if checked is None:
            continue
        if not checked.wrong:
            _remember(entry, checked, progress)
            return path
        progress.note(f"{path} is not the file of {entry.name}: {checked.wrong}. Not used.")
    return None


def _checked(entry: CheckpointEntry, path: Path, progress: Progress) -> Checked | None:
    if not path.is_file():
        return None
    try:
        return check_file(path, entry)
    except OSError as error:
        progress.note(f"{path} cannot be read ({error.strerror}): not used.")
        return None


def _remember(entry: CheckpointEntry, checked: Checked, progress: Progress) -> None:
    """Remember a good file's hash; where that cannot be written the file is good all the same."""
    try:
        remember(entry, checked)
    except StoreError as error:
        progress.note(f"The hash of {entry.name} is not remembered: {error.message}")


def _download(entry: CheckpointEntry, own: Path, progress: Progress, rules: Rules | None) -> Path:
    if entry.url is None:
        raise ModelError(f"{entry.name} has no address to fetch it from.")
    # It gets its name only when it is known to be right: another program reads by the name.
    fresh = own.with_name(f"{own.name}.fetched")
    try:
        came = download(entry.url, fresh, progress, rules, entry.size_bytes)
    except UnreachableError as error:
        why = f" {error.remedy}" if error.remedy else ""
        raise ModelError(
            f"{entry.name} is not on this machine, and {error.message}{why}", by_hand(entry)
        ) from error
    checked = check_file(fresh, entry, came.sha256)
    if checked.wrong:
        aside = _set_aside(fresh, own)
        remedy = (
            f"It may be right that it changed: then remove {record_path(entry)} and fetch again."
            if checked.changed
            else "Something on the way may have changed it (a proxy, a mirror), or upstream did."
        )
        raise ModelError(
            f"What came from {entry.url} is not the file of {entry.name}: {checked.wrong}.",
            f"It is kept as {aside} and not used. {remedy}",
        )
    with storage_errors(own):
        fresh.replace(own)
    _remember(entry, checked, progress)
    progress.note(
        f"{entry.name}: {checked.size_bytes / 1e6:.1f} MB in {own}, "
        + (
            f"held against {' and '.join(checked.held_against)}"
            if checked.held_against
            else "no hash is published: this file is believed, and remembered"
        )
    )
    return own


def _set_aside(path: Path, name: Path | None = None) -> Path:
    """Give a bad file another name, which no program looks for."""
    base = name or path
    aside = base.with_name(f"{base.name}.wrong-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    with storage_errors(path):
        path.replace(aside)
    return aside
