"""Splits of a data set kept as Parquet files or folders, and which of them is taken."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.datasets.dataset import some
from harness.errors import DatasetError

_PREFERRED = ("validation", "val", "valid", "test")
_KEYWORDS = frozenset((*_PREFERRED, "train", "training", "dev", "testing"))
_SHARD = re.compile(r"(?P<split>\w+(?:\.\w+)*)-(?P<place>\d{5})-of-(?P<count>\d{5})(-\w+)?")
_UNNAMED = "all"


@dataclass(frozen=True, slots=True)
class _Shard:
    path: str
    place: int | None = None
    count: int | None = None


def choose_split(names: Sequence[str], split: str | None, data: Path) -> tuple[str, list[str]]:
    """The split to take, and a note where others are left: `validation`, `val`, `valid`, `test`.

    Raises:
        DatasetError: no such split, or several of which none is preferred.
    """
    there = ", ".join(sorted(names))
    if split is not None:
        if split not in names:
            raise DatasetError(f"There is no split {split!r} in {data}.", f"There are: {there}.")
        return split, []
    if len(names) == 1:
        return names[0], []
    chosen = next((name for name in _PREFERRED if name in names), None)
    if chosen is None:
        raise DatasetError(
            f"{data} holds several splits: {there}.", "Say which with `split: NAME`."
        )
    return chosen, [f"Of the splits {there} in {data}, {chosen} is taken."]


def parquet_files(
    data: Path, files: Sequence[str], split: str | None
) -> tuple[list[str], list[str]]:
    """The Parquet files of one split, in order, and notes.

    A file's split is in its name (`validation-00003-of-00014.parquet`, `val.parquet`) or in its
    folder's (`default/validation/0003.parquet`); files that say none are one split, `all`.

    Args:
        data: where they lie, for messages.
        files: paths relative to `data`.
        split: the one that is meant; None: see `choose_split`.

    Raises:
        DatasetError: as `choose_split`; one split in several folders, or in two sets of files.
    """
    splits: dict[str, list[_Shard]] = defaultdict(list)
    for path in files:
        name, shard = _split_of(path)
        splits[name].append(shard)
    chosen, notes = choose_split(list(splits), split, data)
    shards = splits[chosen]
    folders = sorted({PurePosixPath(shard.path).parent.as_posix() for shard in shards})
    if len(folders) > 1:
        raise DatasetError(
            f"The split {chosen} lies in several folders of {data}: {some(folders)}.",
            "They are several configurations of the data set: give the folder of one as the data.",
        )
    counts = {shard.count for shard in shards}
    if len(counts) > 1:
        raise DatasetError(
            f"The split {chosen} in {data} mixes files of several versions: "
            f"{some([shard.path for shard in shards])}.",
            "Keep the files of one version, all of them `…-of-N` with the same N.",
        )
    count = next(iter(counts))
    if count is not None and len(shards) < count:
        notes.append(
            f"Of the {count} files of the split {chosen}, {len(shards)} are in {data}: only their "
            "images are taken."
        )
    shards.sort(key=lambda shard: (shard.place or 0, shard.path))
    return [shard.path for shard in shards], notes


def _split_of(path: str) -> tuple[str, _Shard]:
    pure = PurePosixPath(path)
    if found := _SHARD.fullmatch(pure.stem):
        return found["split"], _Shard(path, int(found["place"]), int(found["count"]))
    words = re.split(r"[._\-\s]+", pure.stem.lower())
    for word in words:
        if word in _KEYWORDS:
            return word, _Shard(path)
    folder = pure.parent.name
    return (folder if folder.lower() in _KEYWORDS else _UNNAMED), _Shard(path)
