"""Ground truth from the names of folders: WordNet ids, names of a class list, or class indexes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from harness.datasets.classes import SynsetList, imagenet, looks_like_wnid
from harness.datasets.dataset import Dataset, Item, some
from harness.datasets.files import Found
from harness.errors import DatasetError

_IMAGENET_V2 = re.compile(r"imagenet[-_ ]?v2", re.IGNORECASE)
_SAY_INDEXES = "If the numbers are class indexes from 0, say so with `layout: index-folders`"


def unlabelled(root: Path, found: Found, synsets: SynsetList | None, *notes: str) -> Dataset:
    """All images, none with a label."""
    items = tuple(Item(path, None) for path in found.paths)
    listed = synsets.classes if synsets else None
    return Dataset(root, items, listed, "unlabelled", (*found.notes(), *notes), found.excluded)


def from_folders(root: Path, found: Found, synsets: SynsetList | None) -> Dataset:
    """Labels by the folders above the images, or none where the folders do not name classes.

    Raises:
        DatasetError: folders outside the class list.
    """
    folders = {path: _class_folder(root, path, synsets) for path in found.paths}
    named = {folder for folder in folders.values() if folder is not None}
    if not named:
        if _surely_indexes(root, found.paths, synsets):
            return from_index_folders(root, found, synsets)
        return _without_classes(root, found, synsets)
    classes = synsets or imagenet()
    indices = {folder: classes.index_of(folder) for folder in named}
    outside = sorted(folder for folder, index in indices.items() if index is None)
    if outside:
        raise DatasetError(
            f"{len(outside)} folders below {root} are not in the class list {classes.source}: "
            f"{some(outside)}.",
            "Give the full list of the model's classes with --synsets FILE.",
        )
    items = tuple(Item(p, indices[f] if f is not None else None) for p, f in folders.items())
    notes = found.notes()
    strays = [item.path for item in items if item.label is None]
    if strays:
        notes.append(
            f"{len(strays)} of {len(items)} images are in no class's folder and have no label: "
            f"{some(strays)}."
        )
    return Dataset(root, items, classes.classes, "synset-folders", tuple(notes), found.excluded)


def from_index_folders(root: Path, found: Found, synsets: SynsetList | None) -> Dataset:
    """Labels by folders whose names are class indexes from 0, as in ImageNet-V2.

    Read as numbers: sorted as text, folder 10 would come before folder 2.

    Raises:
        DatasetError: a folder that is no number, one outside the class list, or two for a class.
    """
    classes = synsets or imagenet()
    parents = {path: _parent(root, path) for path in found.paths}
    wrong = sorted({p for p in parents.values() if not _is_index(p)})
    if wrong:
        raise DatasetError(
            f"Images below {root} lie in folders that are no class index: {some(wrong)}.",
            "Each image lies directly in a folder 0, 1, 2, ….",
        )
    indices = {folder: int(folder) for folder in set(parents.values())}
    outside = sorted(i for i in indices.values() if i >= len(classes))
    if outside:
        raise DatasetError(
            f"The folder {outside[0]} below {root} is outside the list of {len(classes)} classes "
            f"({classes.source}): indexes count from 0.",
            "If the folders count from 1, or are ids of another list, give `name label` lines "
            "with --labels FILE; another class list is given with --synsets FILE.",
        )
    if len(set(indices.values())) < len(indices):
        raise DatasetError(
            f"Two folders below {root} stand for one class (as 1 and 01 would).",
            "Name each class's folder in one way.",
        )
    items = tuple(Item(path, indices[parents[path]]) for path in found.paths)
    return Dataset(
        root, items, classes.classes, "index-folders", tuple(found.notes()), found.excluded
    )


def in_class_folder(root: Path, path: str, synsets: SynsetList | None) -> bool:
    """Whether a folder above an image names a class."""
    return _class_folder(root, path, synsets) is not None


def _surely_indexes(root: Path, paths: Iterable[str], synsets: SynsetList | None) -> bool:
    """Whether folders named by numbers are class indexes beyond doubt.

    They are where there is one for every class of the list and no other, or where a folder says
    ImageNet-V2. A few numbered folders may as well be ids from 1, batches or dates.
    """
    parents = {_parent(root, path) for path in paths}
    count = len(synsets or imagenet())
    if not all(_is_index(p) and p == str(int(p)) and int(p) < count for p in parents):
        return False
    above = {part for path in paths for part in PurePosixPath(path).parts[:-2]}
    said = any(_IMAGENET_V2.search(name) for name in (root.name, root.parent.name, *above))
    return len(parents) == count or (said and synsets is None)


def _without_classes(root: Path, found: Found, synsets: SynsetList | None) -> Dataset:
    above = sorted({p.split("/")[0] for p in found.paths if "/" in p})
    numbers = bool(above) and all(_is_index(_parent(root, path)) for path in found.paths)
    if above and synsets is not None:
        say = f" {_SAY_INDEXES}." if numbers else ""
        raise DatasetError(
            f"None of the folders below {root} is in {synsets.source}: {some(above)}.",
            f"Name the folders by the identifiers or names in the class list.{say}",
        )
    if numbers:
        return unlabelled(
            root,
            found,
            synsets,
            f"The folders below {root} are numbers that may mean anything, so the images are "
            f"taken as unlabelled. {_SAY_INDEXES}; else give the labels with --labels FILE.",
        )
    if above:
        return unlabelled(
            root,
            found,
            synsets,
            f"The {len(above)} folders below {root} are not named by WordNet ids, so the "
            "images are taken as unlabelled: name the classes with --synsets FILE, or the "
            "labels with --labels FILE.",
        )
    return unlabelled(root, found, synsets)


def _parent(root: Path, path: str) -> str:
    parts = PurePosixPath(path).parts
    return parts[-2] if len(parts) > 1 else root.name


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= 9


def _class_folder(root: Path, path: str, synsets: SynsetList | None) -> str | None:
    """The nearest folder above an image that names a class; the root itself may."""
    above = [*reversed(PurePosixPath(path).parts[:-1]), root.name]
    for folder in above:
        if looks_like_wnid(folder) or (
            synsets is not None and synsets.index_of(folder) is not None
        ):
            return folder
    return None
