"""Putting a converted model where a person wants it: a copy that is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from harness.canonical import fsync_tree
from harness.errors import StoreError, UsageError
from harness.trees import remove_tree

_SUFFIXES = {"graphdef": ".pb", "relax": ".relax.json"}
FOLDERS = frozenset({"savedmodel", "openvino"})
"""Formats of which a model is a folder."""

# What makes a folder a model, and all that a model of that format may have in it.
_INSIDE = {
    "saved_model.pb": {
        "saved_model.pb",
        "variables",
        "assets",
        "assets.extra",
        "fingerprint.pb",
        "keras_metadata.pb",
    },
    "model.xml": {"model.xml", "model.bin"},
}


def default_name(stem: str, file_format: str) -> str:
    """How what was made is called where nobody says: `mobilenet_v2-seeded.tflite`."""
    return stem.replace("@", "-") + _SUFFIXES.get(file_format, f".{file_format}")


def output_path(asked: Path | None, stem: str, file_format: str, source: Path | None) -> Path:
    """Where the result goes: what is asked for, or a name in the current folder.

    A folder that is there is where a file goes into.

    Args:
        asked: by the person.
        stem: of the model.
        file_format: of the result.
        source: the model itself, where it is a file of this machine.

    Raises:
        UsageError: it would be the model itself, or lie where there is no folder.
    """
    name = default_name(stem, file_format)
    target = Path.cwd() / (asked.expanduser() if asked else name)
    if asked is not None and file_format not in FOLDERS and target.is_dir():
        target = target / name
    if not target.parent.is_dir():
        raise UsageError(
            f"There is no folder {target.parent}.", "Make it first, or name another place with -o."
        )
    if source is not None:
        own, other = target.resolve(), source.resolve()
        if own == other or own.is_relative_to(other) or other.is_relative_to(own):
            raise UsageError(
                f"{target} is where the model itself lies.", "Name another place with -o."
            )
    return target


def check_free(target: Path, *, force: bool) -> None:
    """Refuse a place that is taken.

    Raises:
        UsageError: something is there, and `force` is not given; or it is a folder that is no model,
            or holds something else beside it.
    """
    if os.path.lexists(target) and not force:
        raise UsageError(
            f"{target} exists already, and is left as it is.",
            "--force puts the result in its place; -o names another.",
        )
    if _is_folder(target):
        _check_folder(target)


def _check_folder(folder: Path) -> None:
    """Refuse to lose what is no part of a model."""
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be looked into, and is left as it is: {error.strerror}.",
            "Name another place with -o.",
        ) from error
    usual = next((inside for mark, inside in _INSIDE.items() if mark in names), None)
    if usual is None:
        raise UsageError(
            f"{folder} is a folder that holds no model, and is left as it is.",
            "Name another place with -o.",
        )
    if others := sorted(names - usual):
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise UsageError(
            f"{folder} holds more than a model, and is left as it is: "
            f"{', '.join(others[:3])}{more}.",
            "Move that elsewhere, or name another place with -o.",
        )


def put(made: Path, target: Path, *, force: bool) -> None:
    """Copy a file or folder to its place in one step; what is there stays until then.

    Args:
        made: what is copied.
        target: its place.
        force: take the place of what is there.

    Raises:
        UsageError: something is there by now, and `force` is not given.
        StoreError: it cannot be written there.
    """
    mark = uuid.uuid4().hex[:8]
    staged = target.with_name(f".{target.name}.{mark}.staged")
    old = target.with_name(f".{target.name}.{mark}.old")
    try:
        if made.is_dir():
            shutil.copytree(made, staged)
            fsync_tree(staged)
        else:
            shutil.copyfile(made, staged)
        check_free(target, force=force)
        if os.path.lexists(target) and (made.is_dir() or _is_folder(target)):
            _exchange(staged, target, old)
        else:
            staged.replace(target)
    except OSError as error:
        raise StoreError(
            f"Cannot write {target}: {error.strerror or error}.",
            "Name another place with -o; what was converted is kept, and the next call copies it.",
        ) from error
    finally:
        remove_tree(staged)


def _exchange(staged: Path, target: Path, old: Path) -> None:
    """Put one thing in the place of another, which comes back if that does not work."""
    target.rename(old)
    try:
        staged.rename(target)
    except BaseException:
        old.rename(target)
        raise
    remove_tree(old)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
