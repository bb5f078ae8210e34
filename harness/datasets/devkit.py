"""Ground truth of the ILSVRC 2012 validation images as the development kit gives it.

Line k of `ILSVRC2012_validation_ground_truth.txt` is the ILSVRC2012_ID (from 1) of the image
numbered k. These numbers are the kit's own order of synsets, not the sorted order that models
use: only `meta.mat` says which WordNet id each stands for (devkit `readme.txt`, section 3).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from harness.datasets.classes import SynsetList, imagenet, looks_like_wnid
from harness.datasets.dataset import Dataset, Item, some
from harness.datasets.files import GROUND_TRUTH, Found
from harness.datasets.text import read_lines
from harness.errors import DatasetError

_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{1,8})(?:\D|$)")
_KIT = "ILSVRC2012_devkit_t12"
_MAX_META_BYTES = 1 << 26
_TABLES = ("synsets.tsv", "meta.tsv")
_ID_COLUMN = "ILSVRC2012_ID"
_WHERE_META = (
    f"Put meta.mat beside it: it lies in {_KIT}/data of ILSVRC2012_devkit_t12.tar.gz, from which "
    "the ground truth comes too. Or write a file synsets.tsv with the columns "
    f"{_ID_COLUMN}<TAB>WNID."
)


def image_number(path: str) -> int | None:
    """The number k of an image named `ILSVRC2012_val_<k>…`; None for any other name."""
    found = _NUMBERED.match(PurePosixPath(path).name)
    return int(found[1]) if found else None


def is_ground_truth(listed: Path) -> bool:
    """Whether a list holds labels without names, one for each validation image in order.

    The kit's file by its name; any other by its lines, each a single WordNet id.
    """
    if listed.suffix.lower() in {".npy", ".parquet", ".csv", ".tsv"}:
        return False
    words = [line.strip() for _, line in read_lines(listed) if line.strip()]
    if "ground_truth" in listed.name.lower() and words and len(words[0].split()) == 1:
        return True
    return bool(words) and all(looks_like_wnid(word) for word in words)


def find_ground_truth(root: Path, found: Found) -> Path | None:
    """The kit's list: below the folder, beside it, or in a kit's folder up to two levels above."""
    below = [p for p in found.others if PurePosixPath(p).name == GROUND_TRUTH]
    if below:
        return root / below[0]
    for folder in _near(root):
        if (folder / GROUND_TRUTH).is_file():
            return folder / GROUND_TRUTH
    return None


def packed_kit(root: Path) -> Path | None:
    """The kit's archive where nobody has unpacked it yet, for a message."""
    for folder in (root, root.parent, root.parent.parent):
        for name in (f"{_KIT}.tar.gz", f"{_KIT}.tar"):
            if (folder / name).is_file():
                return folder / name
    return None


def _near(folder: Path) -> Iterator[Path]:
    for base in dict.fromkeys((folder, folder.parent, folder.parent.parent)):
        for inside in ("", "data", f"{_KIT}/data", _KIT, f"{_KIT}/{_KIT}/data", "devkit/data"):
            yield base / inside


def from_ground_truth(
    root: Path, found: Found, listed: Path, synsets: SynsetList | None
) -> Dataset:
    """Label validation images by the number in their names.

    Args:
        root: the data folder.
        found: what lies in it.
        listed: ILSVRC2012_IDs, or WordNet ids, a line each.
        synsets: the class list; ImageNet's if None.

    Raises:
        DatasetError: no image has such a name, a number without a line, a line that is not an id
            of the kit, no `meta.mat`, or a WordNet id outside the class list.
    """
    numbers = {path: image_number(path) for path in found.paths}
    numbered = {path: k for path, k in numbers.items() if k is not None}
    if not numbered:
        raise DatasetError(
            f"{listed} labels images by number, but no image below {root} is named "
            f"ILSVRC2012_val_00000001 or alike: the first is {found.paths[0]!r}.",
            "Keep the names of the archive, or give lines `name label`.",
        )
    words = _words(listed)
    wnids = _wnids(listed, words)
    classes = synsets or imagenet()
    labels: dict[str, int] = {}
    for path, number in numbered.items():
        if not 1 <= number <= len(words):
            raise DatasetError(
                f"{path} is validation image {number}, but {listed} has {len(words)} lines.",
                "Take the ground truth of the whole validation set (50000 lines).",
            )
        wnid = wnids[number - 1]
        index = classes.index_of(wnid)
        if index is None:
            raise DatasetError(
                f"{listed}, line {words[number - 1][0]}: {wnid} is not in the class list "
                f"{classes.source}.",
                "Give the full list of the model's classes with --synsets FILE.",
            )
        labels[path] = index
    notes = found.notes()
    without = [path for path in found.paths if path not in labels]
    if without:
        notes.append(
            f"{len(without)} of {len(found.paths)} images have no validation number in their "
            f"names and count only between environments: {some(without)}."
        )
    return Dataset(
        root,
        tuple(Item(path, labels.get(path)) for path in found.paths),
        classes.classes,
        "devkit",
        tuple(notes),
        found.excluded,
    )


def _words(listed: Path) -> list[tuple[int, str]]:
    lines = read_lines(listed)
    while lines and not lines[-1][1].strip():
        lines.pop()
    for number, line in lines:
        word = line.strip()
        if not word.isdecimal() and not looks_like_wnid(word):
            raise DatasetError(
                f"{listed}, line {number}: {word[:80]!r} is no ILSVRC2012_ID.",
                "The kit's ground truth has one number a line. For lines `name label` give the "
                "file another name.",
            )
    if not lines:
        raise DatasetError(f"{listed} holds no label.", "Take the file of the development kit.")
    return [(number, line.strip()) for number, line in lines]


def _wnids(listed: Path, words: Sequence[tuple[int, str]]) -> list[str]:
    """The WordNet id of each line."""
    if all(looks_like_wnid(word) for _, word in words):
        return [word for _, word in words]
    meta = _meta_of(listed)
    kit = _read_table(meta) if meta.suffix == ".tsv" else read_meta(meta)
    wnids = []
    for number, word in words:
        wnid = word if looks_like_wnid(word) else kit.get(int(word))
        if wnid is None:
            raise DatasetError(
                f"{listed}, line {number}: there is no class with the ILSVRC2012_ID {word} in "
                f"{meta}.",
                f"IDs of the kit run from 1 to {max(kit)}. A list of class indexes from 0 needs "
                "lines `name label`.",
            )
        wnids.append(wnid)
    return wnids


def _meta_of(listed: Path) -> Path:
    for folder in (listed.parent, *_near(listed.parent)):
        if (folder / "meta.mat").is_file():
            return folder / "meta.mat"
        for name in _TABLES:
            if (folder / name).is_file() and _is_table(folder / name):
                return folder / name
    raise DatasetError(
        f"The numbers in {listed} are the development kit's own ids (1 to 1000), not class "
        "indexes, and there is no meta.mat that says what they stand for.",
        _WHERE_META,
    )


def _is_table(path: Path) -> bool:
    """Whether a class list is one of the kit's ids: only its header tells it from an index."""
    lines = read_lines(path)
    return bool(lines) and lines[0][1].split("\t")[0].strip() == _ID_COLUMN


def _read_table(path: Path) -> dict[int, str]:
    pairs = []
    for number, line in read_lines(path)[1:]:
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 2 or not cells[0].isdecimal() or not looks_like_wnid(cells[1]):
            raise DatasetError(
                f"{path}, line {number}: {line[:80]!r} is not {_ID_COLUMN}<TAB>WNID.",
                "Ids count from 1, columns are separated by tabs.",
            )
        pairs.append((int(cells[0]), cells[1]))
    return _checked(path, pairs)


def read_meta(path: Path) -> dict[int, str]:
    """The classes of the kit's `meta.mat`: WordNet id by ILSVRC2012_ID, from 1.

    The struct array `synsets` also holds the synsets above the classes; those have children and
    are passed over.

    Raises:
        DatasetError: not such a file, or ids that are not 1..n, each once.
    """
    # Slow to import, and few datasets have such a file.
    import scipy.io  # noqa: PLC0415

    remedy = "Take meta.mat from ILSVRC2012_devkit_t12.tar.gz."
    if path.stat().st_size > _MAX_META_BYTES:
        raise DatasetError(f"{path} is larger than 64 MiB: it is hardly the kit's.", remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            synsets = np.atleast_1d(
                scipy.io.loadmat(path, squeeze_me=True, variable_names=["synsets"])["synsets"]
            )
        names = synsets.dtype.names or ()
        pairs = [
            (_whole(row[_ID_COLUMN]), str(row["WNID"]))
            for row in synsets
            if "num_children" not in names or _whole(row["num_children"]) == 0
        ]
    # A damaged file makes SciPy's reader raise almost anything.
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"{path} is not the development kit's meta.mat: {text}", remedy
        ) from error
    return _checked(path, pairs)


def _whole(value: Any) -> int:
    number = int(value)
    if number != value:
        raise ValueError(f"{value} is not a whole number")
    return number


def _checked(path: Path, pairs: Sequence[tuple[int, str]]) -> dict[int, str]:
    kit = dict(pairs)
    whole = sorted(identifier for identifier, _ in pairs) == list(range(1, len(pairs) + 1))
    if not pairs or not whole or len(set(kit.values())) != len(pairs):
        raise DatasetError(
            f"The classes in {path} do not have the ids 1 to {max(len(pairs), 1)}, each once.",
            "Take meta.mat from ILSVRC2012_devkit_t12.tar.gz.",
        )
    if wrong := [wnid for wnid in kit.values() if not looks_like_wnid(wnid)]:
        raise DatasetError(
            f"{path} names the class {wrong[0][:40]!r}, which is no WordNet id.",
            "Take meta.mat from ILSVRC2012_devkit_t12.tar.gz.",
        )
    return kit
