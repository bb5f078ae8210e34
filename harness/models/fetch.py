"""Fetching pretrained weights: from this machine's caches, else from their library's own server."""

from __future__ import annotations

import time
from pathlib import Path

from filelock import FileLock

from harness.canonical import storage_errors
from harness.errors import ModelError
from harness.models.caches import library_places, own_place
from harness.models.download import Rules, UnreachableError, download
from harness.models.entries import CheckpointEntry
from harness.models.hashes import check_file, known_hash, record_path, remember
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
        StoreError: a cache that cannot be written.
    """
    own = own_place(entry)
    with storage_errors(own):
        own.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{own}.lock"):
        found = _on_disk(entry, own, progress)
        if found is not None:
            return found
        if offline:
            raise ModelError(f"{entry.name} is not on this machine.", by_hand(entry))
        return _download(entry, own, progress, rules)


def by_hand(entry: CheckpointEntry) -> str:
    """What a person without a network has to put where."""
    own = own_place(entry)
    size = f", about {entry.size_bytes / 1e6:.1f} MB" if entry.size_bytes else ""
    return (
        f"Fetch {own.name}{size} ({known_hash(entry)}) from\n  {entry.url}\n  on a machine that "
        f"has a network, and put it into\n  {own.parent}"
    )


def _on_disk(entry: CheckpointEntry, own: Path, progress: Progress) -> Path | None:
    for path in (own, *library_places(entry)):
        if not path.is_file():
            continue
        try:
            checked = check_file(path, entry)
        except OSError as error:
            progress.note(f"{path} cannot be read ({error.strerror}): not used.")
            continue
        if not checked.wrong:
            remember(entry, checked)
            return path
        if path == own:
            aside = _set_aside(own)
            progress.note(f"{own} is not whole or was changed: {checked.wrong}. Kept as {aside}.")
        else:
            progress.note(f"{path} is not the file of {entry.name}: {checked.wrong}. Not used.")
    return None


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
    remember(entry, checked)
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
