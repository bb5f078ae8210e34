"""What lies below a data folder: images, Parquet files, and files that say what the images are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.inputs import Excluded
from harness.errors import DatasetError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
METADATA = ("metadata.csv", "metadata.jsonl")
_OF_INTEREST = frozenset((GROUND_TRUTH, *METADATA))


@dataclass(frozen=True, slots=True)
class Found:
    """Files below a folder, as paths relative to it (POSIX), sorted.

    Attributes:
        paths: images.
        parquet: files ending in `.parquet`.
        others: files whose names say that they tell labels (`GROUND_TRUTH`, `METADATA`).
        excluded: images that cannot even be named in a record.
        hidden: how many image files have names that begin with a dot.
    """

    paths: list[str]
    parquet: list[str]
    others: list[str]
    excluded: tuple[Excluded, ...]
    hidden: int

    def notes(self) -> list[str]:
        """What a person should know about what was passed over."""
        if not self.hidden:
            return []
        return [f"{self.hidden} image files whose names begin with a dot were passed over."]


def find_files(root: Path) -> Found:
    """Look through a folder to any depth.

    Symbolic links are followed, a folder reached twice through links is entered once, folders
    whose names begin with a dot are passed over.

    Raises:
        DatasetError: a folder that cannot be read.
    """
    paths: list[str] = []
    parquet: list[str] = []
    others: list[str] = []
    excluded: list[Excluded] = []
    hidden = 0
    for relative, name in _walk(root):
        image = name.lower().endswith(IMAGE_SUFFIXES)
        if name.startswith("."):
            hidden += image
        elif not _is_utf8(relative):
            if image:
                shown = os.fsencode(relative).decode("utf-8", "backslashreplace")
                excluded.append(Excluded(shown, "its name is not valid UTF-8"))
        else:
            (paths if image else parquet if name.endswith(".parquet") else others).append(relative)
    return Found(
        sorted(paths),
        sorted(parquet),
        sorted(others),
        tuple(sorted(excluded, key=lambda e: e.name)),
        hidden,
    )


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    """Every file of interest: its path relative to the root, and its name."""
    top = os.fspath(root)
    seen = {os.path.realpath(top)}

    def unreadable(error: OSError) -> None:
        raise DatasetError(
            f"Cannot look into {error.filename}: {error.strerror}.", "Check its permissions."
        ) from error

    for folder, folders, files in os.walk(top, followlinks=True, onerror=unreadable):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(Path(folder, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        inside = Path(folder).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES) or (
                name.endswith(".parquet") or name in _OF_INTEREST
            ):
                yield prefix + name, name


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
