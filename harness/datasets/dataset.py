"""A dataset: images of one folder with their ground truth, and images found by how they are named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.datasets.classes import Class
from harness.datasets.inputs import Excluded
from harness.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Item:
    """An image: its path relative to the dataset's root (POSIX), and its ground truth."""

    path: str
    label: int | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images of one folder, in the order of their paths.

    `notes` are lines a person should see (images without a label, names without a file);
    `excluded` are files that cannot be used and are known to be so before any is decoded.
    """

    root: Path
    items: tuple[Item, ...]
    classes: tuple[Class, ...] | None
    layout: str
    notes: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()


class NameIndex:
    """Images by their paths, their names and their names without suffix."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self._paths):
            pure = PurePosixPath(path)
            self._by_name[pure.name].append(path)
            if pure.stem != pure.name:
                self._by_name[pure.stem].append(path)

    def find(self, name: str, listed: Path, line: int) -> str | None:
        """The image that a line means: by path, with leading folders dropped, or by name alone.

        Raises:
            DatasetError: several images have that name.
        """
        parts = [p for p in name.replace("\\", "/").split("/") if p not in {"", "."}]
        for start in range(len(parts)):
            path = "/".join(parts[start:])
            if path in self._paths:
                return path
        candidates = self._by_name.get(parts[-1], []) if parts else []
        if len(candidates) > 1:
            raise DatasetError(
                f"{listed}, line {line}: {name} may be {some(candidates)}.",
                "Write paths relative to the data folder.",
            )
        return candidates[0] if candidates else None


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many names, for a message."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
