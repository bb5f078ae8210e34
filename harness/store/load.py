"""Reading committed answers back: cells found by name, scores and outputs memory-mapped."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from harness.databases import connect
from harness.errors import StoreError
from harness.execution.bundles import answers_folder, inputs_folder, validate
from harness.store import layout, naming
from harness.store.layout import Document
from harness.store.naming import settings_text

NO_LABEL = -1
"""Stands for "no ground truth" in integer label arrays."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CellRecord:
    """A cell, its document and where its answers stand.

    Attributes:
        key: the cell's key.
        cell: cell.json, or what a sweep lists of a cell without answers.
        path: the bundle.
        failure: why it has no answers; empty where it has.
    """

    key: str
    cell: Document
    path: Path
    failure: str = ""


@dataclass(frozen=True)
class Images:
    """The images (or rows) that cells answered, in order.

    Attributes:
        key: the inputs key.
        names: N POSIX paths or row names.
        sha256: N hashes of the originals.
        labels: int64 [N]; `NO_LABEL` where there is no ground truth.
        classes: class index to name, where the class list is known.
        document: inputs.json.
    """

    key: str
    names: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    classes: dict[int, str] | None
    document: Document = field(repr=False)

    @property
    def excluded(self) -> list[dict[str, str]]:
        """Images left out of every cell: `name` and `reason`."""
        return list(self.document.get("excluded") or [])


@dataclass(frozen=True)
class Output:
    """One output of a model: `values` is [N, ...], memory-mapped, as the model gave it."""

    index: int
    name: str
    values: Array = field(repr=False)


@dataclass(frozen=True)
class CellAnswers:
    """What one cell answered.

    Attributes:
        key: the cell's key.
        cell: cell.json, with the `inputs_key` that the images were read by.
        answers: answers.json.
        path: the bundle.
        images: names, hashes and labels of the N inputs.
        scores: float32 [N, C] in class space (the class offset removed), or None for a model
            whose outputs are not class scores. Memory-mapped.
        given: float32 [N, offset + C], the same with what stands before the first class.
        kind: `logits`, `probabilities` or `values`.
        others: the outputs that are not the class scores, memory-mapped.
    """

    key: str
    cell: Document
    answers: Document
    path: Path
    images: Images
    scores: Array | None = field(repr=False)
    kind: str = "logits"
    others: tuple[Output, ...] = ()
    given: Array | None = field(default=None, repr=False)

    @cached_property
    def outputs(self) -> list[Array]:
        """All outputs in the model's order (class scores with the class offset removed)."""
        index = self.answers.get("scores")
        found = {output.index: output.values for output in self.others}
        if self.scores is not None and index is not None:
            found[int(index)] = self.scores
        return [found[i] for i in sorted(found)]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Ground truth, int64 [N]; `NO_LABEL` where there is none."""
        return self.images.labels

    @property
    def names(self) -> tuple[str, ...]:
        """The N names of the images."""
        return self.images.names

    @property
    def count(self) -> int:
        """N, the number of images."""
        return len(self.images.names)


def list_cells(store: Path) -> list[CellRecord]:
    """Every cell with valid answers, by model, environment, backend and key."""
    records = []
    for folder in layout.answer_folders(store):
        try:
            validate(folder)
            cell = layout.read_document(folder / "cell.json")
        except StoreError:
            continue
        records.append(CellRecord(key=folder.name, cell=cell, path=folder))
    return sorted(records, key=_order)


def _order(record: CellRecord) -> tuple[str, ...]:
    cell = record.cell
    words = [str(cell.get(name, "")) for name in ("model", "environment", "backend")]
    return (*words, settings_text(cell.get("settings") or {}), record.key)


def find_cells(
    store: Path,
    selector: str | None = None,
    *,
    model: str | None = None,
    controls: bool = False,
    among: Sequence[CellRecord] | None = None,
) -> list[CellRecord]:
    """Cells that a person named.

    Args:
        store: the results folder.
        selector: an environment's whole name; else `ENVIRONMENT/BACKEND` or a name as results
            print it (`ENVIRONMENT, docker`); else the beginning of a cell's key (4 hex digits
            or more). None: every cell.
        model: only cells of this model.
        controls: also A/A control runs (one named by its key is found anyway).
        among: the cells to choose from; by default those with answers.

    Raises:
        StoreError: nothing fits; the message says what there is.
    """
    layout.require(store)
    records = list_cells(store) if among is None else list(among)
    fitting = records if selector is None else _fitting(records, selector)
    if model is not None:
        fitting = [r for r in fitting if r.cell.get("model") == model]
    if not controls:
        # A control is no answer to an environment's name, but its key may be given.
        fitting = [r for r in fitting if r.cell.get("role") != "control" or _by_key(r, selector)]
    if not fitting and selector is not None:
        raise StoreError(_nothing_fits(records, selector, model, store))
    return fitting


def _fitting(records: Sequence[CellRecord], selector: str) -> list[CellRecord]:
    """Whole names come first: that of an image or an interpreter has slashes of its own."""
    whole = [r for r in records if naming.is_environment(r.cell, selector)]
    if whole:
        return whole
    labels = labels_of(records)
    described = [
        r for r in records if labels[r.key] == selector or naming.is_described(r.cell, selector)
    ]
    return described or [r for r in records if _by_key(r, selector)]


def labels_of(records: Sequence[CellRecord]) -> dict[str, str]:
    """The shortest names that tell these cells apart, by key; each can be typed as a selector."""
    return naming.names({**r.cell, "key": r.key} for r in records)


def described(records: Sequence[CellRecord]) -> dict[str, str]:
    """What to call these cells in a message, by key: key, model and telling name."""
    labels = labels_of(records)
    return {r.key: f"{r.key[:12]} {r.cell.get('model')} {labels[r.key]}" for r in records}


def _by_key(record: CellRecord, selector: str | None) -> bool:
    return selector is not None and len(selector) >= 4 and record.key.startswith(selector.lower())


def _nothing_fits(records: list[CellRecord], selector: str, model: str | None, store: Path) -> str:
    of_model = f" of model {model}" if model else ""
    environments = sorted({str(r.cell.get("environment")) for r in records})
    models = sorted({str(r.cell.get("model")) for r in records})
    if not records:
        return f"No cell in {store} has answers yet."
    refused = f"No cell{of_model} in {store} is called {selector}"
    near = [r for r in records if selector.startswith(f"{r.cell.get('environment')}, ")]
    if near:
        return f"{refused}; there are: {'; '.join(dict.fromkeys(labels_of(near).values()))}."
    return (
        f"{refused}: environments there are "
        f"{', '.join(environments)}; models are {', '.join(models)}."
    )


def load_cell(
    store: Path,
    key: str,
    inputs_key: str | None = None,
    images_of: Callable[[str], Images] | None = None,
) -> CellAnswers:
    """The answers of a cell, outputs memory-mapped and read-only.

    Args:
        store: the results folder.
        key: the cell's key.
        inputs_key: names and labels of the images, as a sweep lists them; by default those of
            the sweep that ran the cell.
        images_of: gives the images of an inputs key to who reads many cells; None: read anew.

    Raises:
        StoreError: the bundle is absent or damaged, or does not fit its inputs.
    """
    path = answers_folder(store, key)
    validate(path)
    cell = layout.read_document(path / "cell.json")
    answers = layout.read_document(path / "answers.json")
    cell["inputs_key"] = str(inputs_key or cell["inputs_key"])
    wanted = cell["inputs_key"]
    images = images_of(wanted) if images_of else load_images(store, wanted)
    offset = int((cell.get("checkpoint") or {}).get("class_offset") or 0)
    score_index = answers.get("scores")
    scores: Array | None = None
    given: Array | None = None
    others = []
    for described in answers["outputs"]:
        values = open_array(path / str(described["file"]))
        if values.ndim == 0 or len(values) != len(images.names):
            raise StoreError(
                f"{path / described['file']} holds {values.shape} for {len(images.names)} images.",
                "Remove its folder; the next sweep makes it again.",
            )
        if score_index is not None and described["index"] == score_index:
            given = values.reshape(len(values), -1)
            scores = _in_class_space(given, offset, path)
        else:
            others.append(Output(int(described["index"]), str(described["name"]), values))
    return CellAnswers(
        key=key,
        cell=cell,
        answers=answers,
        path=path,
        images=images,
        scores=scores,
        kind=str(answers.get("kind", "values")),
        others=tuple(others),
        given=given,
    )


def _in_class_space(flat: Array, offset: int, path: Path) -> Array:
    if not 0 <= offset < flat.shape[1]:
        raise StoreError(
            f"{path} has {flat.shape[1]} scores an image but a class offset of {offset}.",
            "Give the model's --class-offset (0, or 1 for a background class) and sweep again.",
        )
    return flat[:, offset:]


def open_array(path: Path) -> Array:
    """A `.npy` file memory-mapped read-only: a regular file, no link, no pickle.

    Raises:
        StoreError: it is no such file.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise StoreError(f"{path} is not a regular file.")
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(
            f"{path} is damaged: {error}.", "Remove its folder; the next sweep makes it again."
        ) from error
    return array


def load_images(store: Path, inputs_key: str) -> Images:
    """Names, hashes and labels of the images of an inputs key.

    Raises:
        StoreError: the bundle is absent or damaged.
    """
    path = inputs_folder(store, inputs_key)
    validate(path)
    document = layout.read_document(path / "inputs.json")
    with connect() as connection:
        try:
            rows = connection.execute(
                "SELECT name, sha256, coalesce(label, ?) FROM read_parquet(?) ORDER BY image",
                [NO_LABEL, str(path / "images.parquet")],
            ).fetchall()
        except duckdb.Error as error:
            raise StoreError(
                f"{path / 'images.parquet'} is damaged: {error}.",
                "Remove its folder; the next sweep makes it again.",
            ) from error
    described = document.get("classes")
    classes = {int(c["index"]): str(c["name"]) for c in described} if described else None
    return Images(
        key=inputs_key,
        names=tuple(str(row[0]) for row in rows),
        sha256=tuple(str(row[1]) for row in rows),
        labels=np.array([row[2] for row in rows], dtype=np.int64),
        classes=classes,
        document=document,
    )


def same_images(a: Images, b: Images) -> bool:
    """Whether two inputs are the same images in the same order (their pixels may differ)."""
    return a.key == b.key or (len(a.sha256) > 0 and a.sha256 == b.sha256)
