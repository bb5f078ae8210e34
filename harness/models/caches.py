"""Where files of pretrained weights are: harness's own cache, and those of the libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.errors import ModelError
from harness.models.entries import CheckpointEntry
from harness.paths import cache_dir


def own_place(entry: CheckpointEntry) -> Path:
    """Where harness keeps the file of a pretrained entry, laid out as its library would.

    Torch: `hub/checkpoints/FILE`, Keras: `models/FILE`, timm: `hub/REPOSITORY/model.safetensors`,
    each below `pretrained/` of the cache.

    Raises:
        ModelError: an entry that has no file to fetch.
    """
    root = cache_dir() / "pretrained"
    if entry.filename is None or entry.library is None:
        raise ModelError(
            f"{entry.name} has no file to fetch.",
            "Pretrained checkpoints have one: `harness model list --origin pretrained`.",
        )
    if entry.repository is not None:
        return root / "hub" / entry.repository / entry.filename
    below = ("models",) if entry.library == "keras" else ("hub", "checkpoints")
    return root.joinpath(*below, entry.filename)


def library_places(entry: CheckpointEntry) -> Iterator[Path]:
    """Where the libraries themselves may have put the file, most likely first."""
    if entry.filename is None:
        return
    if entry.repository is not None:
        yield from _hub_places(entry.repository, entry.filename)
    elif entry.library == "keras":
        yield _folder("KERAS_HOME", Path.home() / ".keras") / "models" / entry.filename
    else:
        torch_home = _folder("TORCH_HOME", _user_caches() / "torch")
        yield torch_home / "hub" / "checkpoints" / entry.filename


def locate(entry: CheckpointEntry) -> CheckpointEntry:
    """The entry with the path of its file, if that is anywhere on this machine.

    Nothing is read: whether the file is whole is for `fetch` and `verify` to say.
    """
    found = next((path for path in _places(entry) if path.is_file()), None)
    return entry if found is None else replace(entry, path=found)


def _places(entry: CheckpointEntry) -> Iterator[Path]:
    yield own_place(entry)
    yield from library_places(entry)


def _hub_places(repository: str, filename: str) -> Iterator[Path]:
    """In the Hugging Face hub's cache: the revision that `main` names first, then any other."""
    home = _folder("HF_HOME", _user_caches() / "huggingface")
    hub = _folder("HF_HUB_CACHE", _folder("HUGGINGFACE_HUB_CACHE", home / "hub"))
    folder = hub / f"models--{repository.replace('/', '--')}"
    try:
        main = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    if main and "/" not in main:
        yield folder / "snapshots" / main / filename
    yield from sorted(folder.glob(f"snapshots/*/{filename}"))


def _folder(variable: str, default: Path) -> Path:
    named = os.environ.get(variable)
    return Path(named).expanduser() if named else default


def _user_caches() -> Path:
    return _folder("XDG_CACHE_HOME", Path.home() / ".cache")
