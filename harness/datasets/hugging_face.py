"""What a Hugging Face data set says of its columns and classes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.datasets.classes import Class, SynsetList, imagenet, looks_like_wnid
from harness.datasets.dataset import some
from harness.errors import DatasetError

LABEL_COLUMNS = (
    "label", "labels", "fine_label", "class", "cls", "target", "wnid", "synset",
)  # fmt: skip
"""Names of a column of labels, the likeliest first."""

_MAX_CARD_BYTES = 1 << 22
_SAME = 0.9
"""The share of names that must be known before two lists of one length count as one."""


@dataclass(frozen=True, slots=True)
class Features:
    """Columns that a data set declares: which hold images, and the names of their classes."""

    images: tuple[str, ...] = ()
    class_names: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def names_of(self, column: str) -> tuple[str, ...] | None:
        """The class names of a column, by index; None where none are declared."""
        return dict(self.class_names).get(column)


def features_of_metadata(text: bytes | str) -> Features:
    """Features from the entry `huggingface` of a Parquet file; none where it says nothing."""
    try:
        columns = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Features()
    if not isinstance(columns, dict):
        return Features()
    kinds = {c: f for c, f in columns.items() if isinstance(f, dict)}
    return Features(
        tuple(c for c, f in kinds.items() if f.get("_type") == "Image"),
        tuple(
            (c, tuple(map(str, f["names"])))
            for c, f in kinds.items()
            if f.get("_type") == "ClassLabel" and isinstance(f.get("names"), list)
        ),
    )


def features_of_card(path: Path) -> Features:
    """Features from the head of a `README.md`; none where it says nothing or is not YAML."""
    try:
        if path.stat().st_size > _MAX_CARD_BYTES:
            return Features()
        text = path.read_text(encoding="utf-8-sig")
        head = text.split("\n---", 1)[0] if text.startswith("---\n") else ""
        document = yaml.safe_load(head.removeprefix("---\n"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return Features()
    info = document.get("dataset_info") if isinstance(document, dict) else None
    if isinstance(info, list) and len(info) == 1:
        info = info[0]
    columns = info.get("features") if isinstance(info, dict) else None
    if not isinstance(columns, list):
        return Features()
    images, names = [], []
    for column in columns:
        if not isinstance(column, dict):
            continue
        kind = column.get("dtype")
        if kind == "image":
            images.append(str(column.get("name")))
        elif isinstance(kind, dict) and isinstance(kind.get("class_label"), dict):
            names.append((str(column.get("name")), _card_names(kind["class_label"].get("names"))))
    return Features(tuple(images), tuple((c, n) for c, n in names if n))


def _card_names(names: Any) -> tuple[str, ...]:
    """Class names by index: a list, or a mapping of "0", "1", … to names."""
    if isinstance(names, Mapping):
        try:
            by_index = {int(key): str(name) for key, name in names.items()}
        except ValueError:
            return ()
        if sorted(by_index) != list(range(len(by_index))):
            return ()
        return tuple(by_index[i] for i in range(len(by_index)))
    return tuple(map(str, names)) if isinstance(names, list) else ()


def match_classes(
    names: Sequence[str], synsets: SynsetList | None, source: str
) -> tuple[tuple[int, ...], tuple[Class, ...]]:
    """Where each of a data set's classes stands in a class list.

    Classes are known by WordNet id, by name, or by the first of several names (`tench, Tinca
    tinca`; case, and a blank or an underscore, make no difference). A name that several classes
    have is settled by its place where both lists are otherwise the same.

    Args:
        names: of the data set, by its own index.
        synsets: the class list; without one ImageNet's is tried, and where it does not fit, the
            data set's own names are the list.
        source: where the names are from, for messages.

    Returns:
        The index in the class list by the data set's own index, and the class list.

    Raises:
        DatasetError: names that are not in the given list, or that are mostly ImageNet's but not
            all of them.
    """
    listed = synsets or imagenet()
    places, several = _places(names, listed)
    known = [place for place in places if place is not None]
    if len(known) == len(names) and len(set(known)) == len(known):
        return tuple(known), listed.classes
    in_place = all(place in {None, i} for i, place in enumerate(places))
    if len(names) == len(listed) and in_place and len(known) >= _SAME * len(names):
        return tuple(range(len(names))), listed.classes
    if synsets is None and len(known) + len(several) < _SAME * len(names):
        return tuple(range(len(names))), tuple(Class(i, None, n) for i, n in enumerate(names))
    strangers = [name for name, place in zip(names, places, strict=True) if place is None]
    what = f"{some(strangers)}" if strangers else "two names for one class"
    raise DatasetError(
        f"The classes of {source} do not fit the class list {listed.source}: {what}.",
        "Give the data set's own classes, in its order, with --synsets FILE; or a list that has "
        "all of them by WordNet id or name.",
    )


def _places(names: Sequence[str], listed: SynsetList) -> tuple[list[int | None], set[str]]:
    """The index of each name where exactly one class has it; and names that several have."""
    times = Counter(_plain(c.name) for c in listed)
    by_name = {_plain(c.name): c.index for c in listed if times[_plain(c.name)] == 1}
    places: list[int | None] = []
    for name in names:
        first = name.split(maxsplit=1)[0] if name.strip() else ""
        if looks_like_wnid(first):
            places.append(listed.index_of(first))
            continue
        place = listed.index_of(name)
        if place is None:
            place = by_name.get(_plain(name), by_name.get(_plain(name.split(",")[0])))
        places.append(place)
    return places, {n for n in names if times[_plain(n.split(",")[0])] > 1}


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
