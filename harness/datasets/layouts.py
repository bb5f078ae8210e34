"""Finding images and their ground truth in a folder, in whichever layout it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from harness.datasets.classes import SynsetList
from harness.datasets.dataset import Dataset, Item
from harness.datasets.devkit import (
    find_ground_truth,
    from_ground_truth,
    image_number,
    is_ground_truth,
    packed_kit,
)
from harness.datasets.files import IMAGE_SUFFIXES, Found, find_files
from harness.datasets.folders import from_folders, from_index_folders, in_class_folder, unlabelled
from harness.datasets.listed import LABEL_LISTS, find_metadata, from_list, from_metadata
from harness.datasets.parquet import from_parquet
from harness.errors import DatasetError
from harness.paths import cache_dir
from harness.progress import Progress, SilentProgress

__all__ = ["LAYOUTS", "Dataset", "Item", "Layout", "discover"]

Layout = Literal[
    "labelled-files",
    "metadata",
    "devkit",
    "synset-folders",
    "index-folders",
    "parquet",
    "unlabelled",
]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
"""Every layout that `discover` knows, and that a person may ask for."""


def discover(
    data: Path,
    synsets: SynsetList | None = None,
    labels: Path | None = None,
    *,
    layout: Layout | None = None,
    split: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Find the images below a folder and read their ground truth.

    Layouts, the first that fits (`docs/datasets.md` shows each):

    - `labelled-files`: a list given as `labels`, or `val_map.txt`, `val.txt` or
      `LOC_val_solution.csv` in the folder;
    - `metadata`: Hugging Face's `metadata.csv` or `metadata.jsonl` with a column of labels;
    - `synset-folders`: images below folders named by WordNet ids, or by the identifiers or names
      of the given class list;
    - `devkit`: validation images of ILSVRC 2012 in no such folder, and the development kit's
      ground truth in or near the data folder, or given as `labels`;
    - `index-folders`: folders 0, 1, 2, … where they are class indexes beyond doubt;
    - `parquet`: a Parquet file, or a folder of them without image files;
    - `unlabelled`: anything else.

    Args:
        data: the folder, or a Parquet file. A folder is searched to any depth, symbolic links are
            followed, names that begin with a dot are passed over.
        synsets: the class list; without it WordNet ids are read by the list of ILSVRC 2012.
        labels: a list of `name label` lines, or the development kit's ground truth.
        layout: take this one, or say why it does not fit.
        split: of a data set with several: a folder `data`/<split>, or Parquet files of that name.
        cache: where images of Parquet files are written; the user's cache if None.
        progress: where long work reports to.

    Raises:
        DatasetError: no folder, no image in it, a label or a WordNet id outside the list, a
            list none of whose names is there, or a layout or split that is not there.
        StoreError: images of Parquet files cannot be written to the cache.
    """
    data = data.expanduser()
    if layout is not None and layout not in LAYOUTS:
        raise DatasetError(f"There is no layout {layout!r}.", f"Layouts: {', '.join(LAYOUTS)}.")
    _check_split_name(split)
    cache, progress = cache or cache_dir(), progress or SilentProgress()
    if data.is_file() and data.suffix.lower() == ".parquet":
        found = Found([], [data.name], [], (), 0)
        return _parquet(data.resolve().parent, found, synsets, labels, split, (cache, progress))
    if not data.is_dir():
        kind = "is a file, not a folder" if data.exists() else "does not exist"
        raise DatasetError(
            f"The data folder {data} {kind}.", "Give a folder of images with --data DIR."
        )
    root = data.resolve()
    inside = None
    if split is not None and (root / split).is_dir():
        root, split, inside = root / split, None, split
    found = find_files(root)
    if found.parquet and (layout == "parquet" or (not found.paths and layout is None)):
        dataset = _parquet(root, found, synsets, labels, split, (cache, progress))
    elif layout == "parquet":
        raise DatasetError(f"There is no Parquet file in {root}.", "Give the folder of them.")
    elif not found.paths:
        raise DatasetError(
            f"There is no image in {root}.",
            f"Images are files ending in {' '.join(s[1:] for s in IMAGE_SUFFIXES)}, at any depth, "
            "or Parquet files with a column of them.",
        )
    else:
        dataset = _images(root, found, synsets, labels, layout, split)
    _check_split(dataset, data, split if inside is None else None)
    return dataset


def _check_split_name(split: str | None) -> None:
    """A split is a name; one that leads out of the folder is refused."""
    if split is not None and (not split.strip(".") or set(split) & set("/\\\0")):
        raise DatasetError(
            f"{split!r} is no name of a split.",
            "A split is a folder in the data folder, or is named by Parquet files: --split val.",
        )


def _check_split(dataset: Dataset, data: Path, split: str | None) -> None:
    if split is not None and dataset.layout not in {"parquet", "metadata"}:
        raise DatasetError(
            f"There is no split {split!r} in {data}.",
            "A split is a folder in it, or is named by Parquet files.",
        )


def _parquet(
    root: Path,
    found: Found,
    synsets: SynsetList | None,
    labels: Path | None,
    split: str | None,
    means: tuple[Path, Progress],
) -> Dataset:
    dataset = from_parquet(root, found.parquet, synsets, split, *means)
    if labels is None:
        return dataset
    paths = [item.path for item in dataset.items]
    listed = Found(paths, [], [], dataset.excluded, 0)
    return replace(_by_list(dataset.root, listed, labels, synsets), layout="parquet")


def _images(
    root: Path,
    found: Found,
    synsets: SynsetList | None,
    labels: Path | None,
    layout: Layout | None,
    split: str | None,
) -> Dataset:
    """Images that lie as files."""
    asked = _asked_for(root, found, synsets, labels, layout)
    if asked is not None:
        return asked
    listed = labels or next((root / n for n in LABEL_LISTS if (root / n).is_file()), None)
    if listed is not None and layout != "metadata":
        return _by_list(root, found, listed, synsets)
    if layout == "labelled-files":
        raise DatasetError(
            f"There is no list of labels in {root}.",
            f"Give one with --labels FILE, or name it {' or '.join(LABEL_LISTS)}.",
        )
    metadata, notes = find_metadata(root, found, split)
    if metadata is not None:
        dataset = from_metadata(root, found, metadata, synsets)
        if dataset is not None:
            return replace(dataset, notes=(*notes, *dataset.notes))
        notes = [f"{metadata} has no column `label`, so it is passed over."]
    if layout == "metadata":
        raise DatasetError(
            f"There is no metadata.csv or metadata.jsonl with labels in {root}.",
            "It has the columns file_name and label.",
        )
    dataset = _by_folders_or_kit(root, found, synsets)
    return replace(dataset, notes=(*notes, *dataset.notes))


def _asked_for(
    root: Path,
    found: Found,
    synsets: SynsetList | None,
    labels: Path | None,
    layout: Layout | None,
) -> Dataset | None:
    """A layout that needs no search for a list; None for the others."""
    match layout:
        case "unlabelled":
            return unlabelled(root, found, synsets)
        case "index-folders":
            return from_index_folders(root, found, synsets)
        case "synset-folders":
            dataset = from_folders(root, found, synsets)
            if dataset.layout == layout:
                return dataset
            raise DatasetError(
                f"The folders below {root} do not name classes.",
                "Folders are named by WordNet ids, or by a class list given with --synsets FILE.",
            )
        case "devkit":
            return from_ground_truth(root, found, _ground_truth(root, found, labels), synsets)
        case _:
            return None


def _by_list(root: Path, found: Found, listed: Path, synsets: SynsetList | None) -> Dataset:
    listed = listed.expanduser()
    if is_ground_truth(listed):
        return from_ground_truth(root, found, listed, synsets)
    return from_list(root, found, listed, synsets)


def _by_folders_or_kit(root: Path, found: Found, synsets: SynsetList | None) -> Dataset:
    loose = [
        path
        for path in found.paths
        if image_number(path) is not None and not in_class_folder(root, path, synsets)
    ]
    if not loose:
        return from_folders(root, found, synsets)
    kit = find_ground_truth(root, found)
    if kit is not None:
        return from_ground_truth(root, found, kit, synsets)
    dataset = from_folders(root, found, synsets)
    packed = packed_kit(root)
    where = f"unpack {packed}" if packed else "unpack ILSVRC2012_devkit_t12.tar.gz"
    return replace(
        dataset,
        notes=(
            *dataset.notes,
            f"{len(loose)} images are named as validation images of ILSVRC 2012, but nothing says "
            f"what they show: {where} beside {root}, or give labels with --labels FILE.",
        ),
    )


def _ground_truth(root: Path, found: Found, labels: Path | None) -> Path:
    listed = labels.expanduser() if labels else find_ground_truth(root, found)
    if listed is None:
        raise DatasetError(
            f"The development kit's ground truth is neither in {root} nor near it.",
            "Unpack ILSVRC2012_devkit_t12.tar.gz beside the images, or give "
            "ILSVRC2012_validation_ground_truth.txt with --labels FILE.",
        )
    return listed
