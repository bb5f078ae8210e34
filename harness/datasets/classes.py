"""Class lists: the index, identifier and name of every class, and where an identifier stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from harness.datasets.text import read_lines
from harness.errors import DatasetError

_WNID = re.compile(r"n\d{8}")
_SHIPPED = Path(__file__).with_name("imagenet_synsets.tsv")


@dataclass(frozen=True, slots=True)
class Class:
    """One class: its index in the model's class space, its identifier (WordNet's), its name."""

    index: int
    wnid: str | None
    name: str


@dataclass(frozen=True)
class SynsetList:
    """A full list of classes, in the order of their indices 0..n-1.

    `source` is the file it came from, for messages.
    """

    classes: tuple[Class, ...]
    source: str
    _by_word: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_word = {c.wnid: c.index for c in self.classes if c.wnid}
        times = Counter(c.name for c in self.classes)
        for c in self.classes:
            if times[c.name] == 1:
                by_word.setdefault(c.name, c.index)
        object.__setattr__(self, "_by_word", by_word)

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[Class]:
        return iter(self.classes)

    def index_of(self, word: str) -> int | None:
        """The index of a class by its identifier, or by its name where only one class has it."""
        return self._by_word.get(word)


def looks_like_wnid(word: str) -> bool:
    """Whether a word has the form of a WordNet noun identifier: n and eight digits."""
    return _WNID.fullmatch(word) is not None


@cache
def imagenet() -> SynsetList:
    """The 1000 synsets of ILSVRC 2012 in the order of their indices."""
    return load_synsets(_SHIPPED)


def load_synsets(path: Path) -> SynsetList:
    """Read a class list.

    Three forms are understood: lines of `index<TAB>identifier<TAB>name` (a first line
    `index wnid name` is a header), lines of `identifier names…` as in `LOC_synset_mapping.txt`,
    and one identifier a line; in the last two the index is the line's number from 0.

    Raises:
        DatasetError: no such file, not text, a line that cannot be understood, an identifier or
            index given twice, or indices that are not 0..n-1.
    """
    lines = [(number, line) for number, line in read_lines(path) if line.strip()]
    tabbed = any("\t" in line for _, line in lines)
    if tabbed and lines and lines[0][1].split("\t")[0].strip().lower() == "index":
        lines = lines[1:]
    if not lines:
        raise DatasetError(
            f"{path} names no class.",
            "A class list has lines `index<TAB>wnid<TAB>name`, or `wnid names`, for every class.",
        )
    classes = [
        _tabbed_class(path, number, line) if tabbed else _plain_class(position, line)
        for position, (number, line) in enumerate(lines)
    ]
    classes.sort(key=lambda c: c.index)
    _check(path, classes)
    return SynsetList(tuple(classes), str(path))


def _tabbed_class(path: Path, number: int, line: str) -> Class:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) < 2 or not cells[0].isdecimal() or not cells[1]:
        raise DatasetError(
            f"{path}, line {number}: {line[:80]!r} is not `index<TAB>wnid<TAB>name`.",
            "Indices count from 0, columns are separated by tabs.",
        )
    name = cells[2] if len(cells) > 2 and cells[2] else cells[1]
    return Class(int(cells[0]), cells[1], name)


def _plain_class(position: int, line: str) -> Class:
    word, _, name = line.strip().partition(" ")
    return Class(position, word, name.strip() or word)


def _check(path: Path, classes: list[Class]) -> None:
    for kind, values in (
        ("index", [c.index for c in classes]),
        ("identifier", [c.wnid for c in classes]),
    ):
        twice = [value for value, times in Counter(values).items() if times > 1]
        if twice:
            raise DatasetError(
                f"{path} gives the {kind} {twice[0]} more than once.",
                "Every class has one line with an index and an identifier of its own.",
            )
    if classes[-1].index != len(classes) - 1:
        present = {c.index for c in classes}
        missing = next(i for i in range(len(classes)) if i not in present)
        raise DatasetError(
            f"{path} has {len(classes)} classes, but none with the index {missing}.",
            "Give the full list: ground truth is read by place in it, indices count from 0.",
        )
