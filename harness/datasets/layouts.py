"""Finding images and their ground truth in a folder, in whichever layout it has."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.datasets.classes import Class, SynsetList, imagenet, looks_like_wnid
from harness.datasets.inputs import Excluded
from harness.datasets.labels import (
    NamedLabel,
    class_list_for,
    label_index,
    read_named_labels,
)
from harness.errors import DatasetError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
LABEL_LISTS = ("val_map.txt", "val.txt")


@dataclass(frozen=True, slots=True)
class Item:
    """An image: its path relative to the dataset's root (POSIX), and its ground truth."""

    path: str
    label: int | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images of one folder, in the order of their paths.

    `notes` are lines a person should see (images without a label, names without a file);
    `excluded` are files that cannot even be named in a record.
    """

    root: Path
    items: tuple[Item, ...]
    classes: tuple[Class, ...] | None
    layout: str
    notes: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    paths: list[str]
    excluded: tuple[Excluded, ...]
    hidden: int


def discover(data: Path, synsets: SynsetList | None = None, labels: Path | None = None) -> Dataset:
    """Find the images below a folder and read their ground truth.

    Layouts, the first that fits:

    - `labelled-files`: a list given as `labels`, or `val_map.txt` / `val.txt` in the folder;
    - `synset-folders`: images below folders named by WordNet ids, or by the identifiers or names
      of the given class list;
    - `unlabelled`: anything else.

    Args:
        data: the folder; it is searched to any depth, symbolic links are followed, names that
            begin with a dot are passed over.
        synsets: the class list; without it WordNet ids are read by the list of ILSVRC 2012.
        labels: a list of `name label` lines.

    Raises:
        DatasetError: no folder, no image in it, a label or a WordNet id outside the list, or a
            list none of whose names is there.
    """
    data = data.expanduser()
    if not data.is_dir():
        kind = "is a file, not a folder" if data.exists() else "does not exist"
        raise DatasetError(
            f"The data folder {data} {kind}.", "Give a folder of images with --data DIR."
        )
    root = data.resolve()
    found = _find_images(root)
    if not found.paths:
        raise DatasetError(
            f"There is no image in {data}.",
            f"Images are files ending in {' '.join(s[1:] for s in IMAGE_SUFFIXES)}, at any depth.",
        )
    listed = labels or next((root / n for n in LABEL_LISTS if (root / n).is_file()), None)
    if listed is not None:
        return _from_list(root, found, listed, synsets)
    return _from_folders(root, found, synsets)


def _find_images(root: Path) -> _Found:
    paths, excluded, hidden = [], [], 0
    for path in _walk(root):
        relative = path.relative_to(root).as_posix()
        if path.name.startswith("."):
            hidden += 1
        elif _is_utf8(relative):
            paths.append(relative)
        else:
            shown = os.fsencode(relative).decode("utf-8", "backslashreplace")
            excluded.append(Excluded(shown, "its name is not valid UTF-8"))
    return _Found(sorted(paths), tuple(sorted(excluded, key=lambda e: e.name)), hidden)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(root: Path) -> Iterator[Path]:
    """Every image file below a folder; a folder reached twice through links is entered once."""
    seen = {os.path.realpath(root)}

    def unreadable(error: OSError) -> None:
        raise DatasetError(
            f"Cannot look into {error.filename}: {error.strerror}.", "Check its permissions."
        ) from error

    for folder, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(Path(folder, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES):
                yield Path(folder, name)


def _notes(found: _Found) -> list[str]:
    if not found.hidden:
        return []
    return [f"{found.hidden} image files whose names begin with a dot were passed over."]


def _from_list(root: Path, found: _Found, listed: Path, synsets: SynsetList | None) -> Dataset:
    entries = read_named_labels(listed)
    classes = class_list_for((e.word for e in entries), (e.name for e in entries), synsets)
    index = _NameIndex(found.paths)
    labels: dict[str, int] = {}
    absent: list[NamedLabel] = []
    for entry in entries:
        label = label_index(listed, entry.line, entry.word, classes)
        path = index.find(entry, listed)
        if path is None:
            absent.append(entry)
        elif labels.setdefault(path, label) != label:
            raise DatasetError(
                f"{listed}, line {entry.line}: {entry.name} has two labels, "
                f"{labels[path]} and {label}.",
                "Keep one line for each image.",
            )
    if not labels:
        raise DatasetError(
            f"None of the {len(entries)} names in {listed} is an image below {root}: "
            f"the first is {entries[0].name!r}, the first image is {found.paths[0]!r}.",
            "Names are paths relative to the data folder, or file names.",
        )
    notes = _notes(found)
    if absent:
        notes.append(
            f"{len(absent)} of {len(entries)} names in {listed.name} are not in {root}: "
            f"{_some([e.name for e in absent])}."
        )
    without = [path for path in found.paths if path not in labels]
    if without:
        notes.append(
            f"{len(without)} of {len(found.paths)} images have no label in {listed.name} and "
            f"count only between environments: {_some(without)}."
        )
    return Dataset(
        root,
        tuple(Item(path, labels.get(path)) for path in found.paths),
        classes.classes if classes else None,
        "labelled-files",
        tuple(notes),
        found.excluded,
    )


class _NameIndex:
    """Images by their paths, their names and their names without suffix."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = set(paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            pure = PurePosixPath(path)
            self._by_name[pure.name].append(path)
            self._by_name[pure.stem].append(path)

    def find(self, entry: NamedLabel, listed: Path) -> str | None:
        """The image that a line means: by path, with leading folders dropped, or by name alone."""
        parts = [p for p in entry.name.replace("\\", "/").split("/") if p not in {"", "."}]
        for start in range(len(parts)):
            path = "/".join(parts[start:])
            if path in self._paths:
                return path
        candidates = self._by_name.get(parts[-1], []) if parts else []
        if len(candidates) > 1:
            raise DatasetError(
                f"{listed}, line {entry.line}: {entry.name} may be {_some(candidates)}.",
                "Write paths relative to the data folder.",
            )
        return candidates[0] if candidates else None


def _from_folders(root: Path, found: _Found, synsets: SynsetList | None) -> Dataset:
    notes = _notes(found)
    folders = {path: _class_folder(root, path, synsets) for path in found.paths}
    named = {folder for folder in folders.values() if folder is not None}
    if not named:
        parents = {p.split("/")[0] for p in found.paths if "/" in p}
        if parents and synsets is None:
            notes.append(
                f"The {len(parents)} folders below {root} are not named by WordNet ids, so the "
                "images are taken as unlabelled: name the classes with --synsets FILE, or the "
                "labels with --labels FILE."
            )
        elif parents:
            raise DatasetError(
                f"None of the folders below {root} is in {synsets.source if synsets else ''}: "
                f"{_some(sorted(parents))}.",
                "Name the folders by the identifiers or names in the class list.",
            )
        items = tuple(Item(path, None) for path in found.paths)
        listed = synsets.classes if synsets else None
        return Dataset(root, items, listed, "unlabelled", tuple(notes), found.excluded)

    classes = synsets or imagenet()
    indices = {folder: classes.index_of(folder) for folder in named}
    outside = sorted(folder for folder, index in indices.items() if index is None)
    if outside:
        raise DatasetError(
            f"{len(outside)} folders below {root} are not in the class list {classes.source}: "
            f"{_some(outside)}.",
            "Give the full list of the model's classes with --synsets FILE.",
        )
    items = tuple(Item(p, indices[f] if f is not None else None) for p, f in folders.items())
    strays = [item.path for item in items if item.label is None]
    if strays:
        notes.append(
            f"{len(strays)} of {len(items)} images are in no class's folder and have no label: "
            f"{_some(strays)}."
        )
    return Dataset(root, items, classes.classes, "synset-folders", tuple(notes), found.excluded)


def _class_folder(root: Path, path: str, synsets: SynsetList | None) -> str | None:
    """The nearest folder above an image that names a class; the root itself may."""
    above = [*reversed(PurePosixPath(path).parts[:-1]), root.name]
    for folder in above:
        if looks_like_wnid(folder) or (
            synsets is not None and synsets.index_of(folder) is not None
        ):
            return folder
    return None


def _some(names: list[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
