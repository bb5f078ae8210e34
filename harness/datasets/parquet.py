"""Data sets in Parquet files: a table with a column of images and one of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.datasets.classes import SynsetList, imagenet, looks_like_wnid
from harness.datasets.dataset import Dataset, Item, some
from harness.datasets.extraction import Columns, Row, extract, literal, reading
from harness.datasets.hugging_face import (
    LABEL_COLUMNS,
    Features,
    features_of_card,
    features_of_metadata,
    match_classes,
)
from harness.datasets.labels import label_index
from harness.datasets.splits import parquet_files
from harness.errors import DatasetError
from harness.progress import Progress

_IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "content")
_WHOLE = frozenset(
    f"{sign}{size}INT" for sign in ("", "U") for size in ("", "TINY", "SMALL", "BIG")
) | {"INTEGER", "UINTEGER"}


def from_parquet(
    data: Path,
    files: Sequence[str],
    synsets: SynsetList | None,
    split: str | None,
    cache: Path,
    progress: Progress,
) -> Dataset:
    """The images of one split, written to the cache as files, with their labels.

    The image column is the one that Hugging Face's metadata call an image, else one named `image`
    or alike: a struct with `bytes`, or bytes. Whole numbers as labels are indexes into the class
    names that the metadata or the `README.md` give, which are looked up in the class list; without
    names they are class indexes. Text is a WordNet id, a name of the class list or an index.
    A label of -1 or NULL is none.

    Args:
        data: the folder that the files lie in.
        files: paths relative to it.
        synsets: the class list; see `match_classes` for what happens without one.
        split: the split; None: validation, val, valid, test, or the only one.
        cache: the cache folder.
        progress: where long work reports to.

    Raises:
        DatasetError: no such split, no image column, files that cannot be read, labels outside
            the class list.
        StoreError: the cache cannot be written, or has no space.
    """
    chosen, notes = parquet_files(data, files, split)
    paths = [(data / path).resolve() for path in chosen]
    types, features = _look(data, paths)
    column, has_path = _image_column(paths[0], types, features)
    label = _label_column(types, features)
    struct = types[column].startswith("STRUCT")
    extracted = extract(
        paths,
        Columns(
            image=f"{_quoted(column)}.{_quoted('bytes')}" if struct else _quoted(column),
            path=f"{_quoted(column)}.{_quoted('path')}" if has_path else "NULL",
            label=f"CAST({_quoted(label)} AS VARCHAR)" if label else "NULL",
        ),
        cache,
        progress,
    )
    source = str(data / chosen[0])
    dataset = Dataset(
        extracted.folder,
        tuple(Item(row.name, None) for row in sorted(extracted.rows, key=lambda row: row.name)),
        synsets.classes if synsets else None,
        "parquet",
        tuple(notes),
        extracted.excluded,
    )
    if label is None:
        others = some([name for name in types if name != column], 8) or "none"
        note = (
            f"{source} has no column of labels (label, or a class label of Hugging Face's; its "
            f"other columns: {others}): the images are taken as unlabelled."
        )
        return replace(dataset, notes=(*notes, note))
    names = features.names_of(label) if types[label] in _WHOLE else None
    return _labelled(dataset, extracted.rows, names, synsets, Path(source))


def _look(data: Path, paths: Sequence[Path]) -> tuple[dict[str, str], Features]:
    """Columns with their types, equal in all files, and what is declared of them."""
    with reading(paths) as connection:
        types: dict[str, str] = {}
        for path in paths:
            rows = connection.execute(
                "DESCRIBE SELECT * FROM read_parquet(?)", [literal(path)]
            ).fetchall()
            found = {str(row[0]): str(row[1]) for row in rows}
            if types and found != types:
                raise DatasetError(
                    f"{path} has other columns than {paths[0]}.",
                    "The files of a split have the same columns with the same types.",
                )
            types = found
        entries = connection.execute(
            "SELECT key, value FROM parquet_kv_metadata(?)", [literal(paths[0])]
        ).fetchall()
    declared = next((value for key, value in entries if bytes(key) == b"huggingface"), None)
    features = features_of_metadata(bytes(declared)) if declared is not None else Features()
    if not features.class_names:
        for card in (data / "README.md", data.parent / "README.md"):
            found_in_card = features_of_card(card)
            if found_in_card.class_names:
                return types, Features(
                    features.images or found_in_card.images, found_in_card.class_names
                )
    return types, features


def _image_column(file: Path, types: dict[str, str], features: Features) -> tuple[str, bool]:
    """The column of images, and whether it is a struct that gives paths too."""
    usable = {name: kind for name, kind in types.items() if _holds_bytes(kind)}
    likely = [name for name in features.images if name in usable]
    likely += [name for name in _IMAGE_COLUMNS if name in usable and name not in likely]
    if not likely and len(usable) == 1:
        likely = list(usable)
    if not likely:
        shown = ", ".join(f"{name} {kind[:60]}" for name, kind in types.items())
        raise DatasetError(
            f"{file} has no column of images: its columns are {shown}.",
            "A column `image` holds the bytes of image files, or a struct with `bytes` and `path`.",
        )
    # Where a data set has pictures of several sorts (image, mask), `image` is the input.
    column = "image" if "image" in likely else likely[0]
    return column, "path VARCHAR" in types[column].replace('"', "")


def _holds_bytes(kind: str) -> bool:
    plain = kind.replace('"', "")
    return kind == "BLOB" or (
        plain.startswith("STRUCT(") and not plain.endswith("]") and "bytes BLOB" in plain
    )


def _label_column(types: dict[str, str], features: Features) -> str | None:
    usable = [name for name, kind in types.items() if kind in _WHOLE or kind == "VARCHAR"]
    for name in LABEL_COLUMNS:
        if name in usable:
            return name
    declared = [name for name, _ in features.class_names if name in usable]
    return declared[0] if len(declared) == 1 else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _labelled(
    dataset: Dataset,
    rows: Sequence[Row],
    names: tuple[str, ...] | None,
    synsets: SynsetList | None,
    source: Path,
) -> Dataset:
    words = [row.label for row in rows]
    listed = synsets
    places: tuple[int, ...] | None = None
    notes = list(dataset.notes)
    classes = synsets.classes if synsets else None
    if names is not None:
        places, classes = match_classes(names, synsets, str(source))
        if synsets is None and classes == imagenet().classes:
            notes.append(f"The class names of {source.name} are ImageNet's: labels are read so.")
    elif listed is None and any(word and looks_like_wnid(word) for word in words):
        listed = imagenet()
        classes = listed.classes
    labels: dict[str, int | None] = {}
    for number, row in enumerate(rows, start=1):
        if row.label is None or row.label.strip() in {"", "-1"}:
            labels[row.name] = None
        elif places is not None:
            labels[row.name] = _through(places, row.label, number, source)
        else:
            labels[row.name] = label_index(source, number, row.label.strip(), listed)
    without = [item.path for item in dataset.items if labels[item.path] is None]
    if without:
        notes.append(
            f"{len(without)} of {len(labels)} images have no label (-1 or empty) in {source.name} "
            f"and count only between environments: {some(without)}."
        )
    items = tuple(Item(item.path, labels[item.path]) for item in dataset.items)
    return replace(dataset, items=items, classes=classes, notes=tuple(notes))


def _through(places: tuple[int, ...], word: str, number: int, source: Path) -> int:
    index = int(word)
    if not 0 <= index < len(places):
        raise DatasetError(
            f"{source}, row {number}: label {index} is outside its {len(places)} class names.",
            "The table and its metadata do not belong together: check where it is from.",
        )
    return places[index]
