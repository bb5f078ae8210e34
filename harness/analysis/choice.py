"""Which cells a comparison sets side by side: those of the newest sweep, like with like."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.analysis import pairing
from harness.errors import StoreError, UsageError
from harness.execution.bundles import answers_folder, inputs_folder
from harness.store import layout
from harness.store.cell_routes import AXES
from harness.store.load import CellRecord, described, find_cells, labels_of, list_cells

Document = dict[str, Any]

_FED = ("variant", "preprocessing", "corruption", "mistake")
_RUN = ("precision", "instruction_set", "device", "threads", "batch")
_ALIKE = ("backend", "settings", *_RUN, *_FED, *AXES)
_STAGES = (
    ("inputs_key", *_ALIKE, "device_name", "route", "executor", "recipe", "class_offset"),
    ("inputs_key", *_ALIKE),
    ("inputs_key", "level", *_RUN),
    ("inputs_key", *_RUN),
    ("inputs_key",),
    ("images_key", *_ALIKE),
    ("images_key", "level", *_RUN, "corruption", "mistake"),
    ("images_key", *_RUN, "corruption", "mistake"),
    ("images_key",),
)
"""Like is matched with like: first alike in everything but the environment, then loosely; the same
images count as the same where their pixels differ."""


@dataclass(frozen=True)
class Choice:
    """Which cells are compared.

    Attributes:
        pairs: (baseline, candidate) each; both have answers.
        unmeasured: likewise, but one of the two has none; its `failure` says why.
        baseline_only: baseline cells without a counterpart.
        candidate_only: candidate cells without a counterpart.
        notes: how the choice was made, where that is not obvious.
    """

    pairs: tuple[tuple[CellRecord, CellRecord], ...]
    unmeasured: tuple[tuple[CellRecord, CellRecord], ...] = ()
    baseline_only: tuple[CellRecord, ...] = ()
    candidate_only: tuple[CellRecord, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    """What a store knows of cells.

    Attributes:
        store: the results folder.
        sweeps: their documents, newest first, those of studies after all others.
        answered: cells with valid answers, by key.
    """

    store: Path
    sweeps: tuple[Document, ...]
    answered: Mapping[str, CellRecord]

    def listed(self, sweep: Document) -> dict[str, CellRecord]:
        """The cells of a sweep under the names and labels that it gave them, by key."""
        reasons = {
            str(f.get("key")): f"{f.get('kind')}: {f.get('message')}"
            for f in sweep.get("failures") or []
        }
        found = {}
        for cell in sweep.get("cells") or []:
            key = str(cell.get("key"))
            answers = self.answered.get(key)
            own = {name: value for name, value in cell.items() if name != "status"}
            failure = "" if answers else "its answers are missing or damaged"
            if cell.get("status") == "failed":
                failure = reasons.get(key, "no reason is recorded")
            document = {**(answers.cell if answers else {}), **own}
            found[key] = CellRecord(key, document, answers_folder(self.store, key), failure)
        return found

    def everything(self) -> list[CellRecord]:
        """Every cell as the newest sweep lists it, then those that no sweep lists.

        A cell that has answers has no `failure` here, whatever became of it in a later sweep.
        """
        found: dict[str, CellRecord] = {}
        for sweep in self.sweeps:
            for key, record in self.listed(sweep).items():
                found.setdefault(key, record)
        whole = {k: replace(r, failure="") if k in self.answered else r for k, r in found.items()}
        return list(
            {**whole, **{k: r for k, r in self.answered.items() if k not in whole}}.values()
        )


@dataclass(frozen=True)
class _Sides:
    """The cells to match.

    Attributes:
        left: of the baseline.
        right: of the candidate.
        sought: the side (0 or 1) that was looked for in older sweeps to suit the other: what is
            left over there is of no concern. None: both are of one sweep.
    """

    left: list[CellRecord]
    right: list[CellRecord]
    sought: int | None = None


def choose(
    store: Path,
    baseline: str,
    candidate: str,
    *,
    model: str | None = None,
    sweep: str | None = None,
) -> Choice:
    """Match the cells of a baseline with those of a candidate, model by model, like with like.

    The newest sweep that names either side counts, its failed cells included: a failure is never
    hidden by older answers. Where it names one side only, the other's newest cells over the same
    images and of the same model content are taken from older sweeps.

    Args:
        store: the results folder.
        baseline: an environment, `ENVIRONMENT/BACKEND`, a cell's name as results print it
            (`ENVIRONMENT, docker`), or the beginning of its key.
        candidate: likewise.
        model: only this model.
        sweep: only cells of this sweep.

    Raises:
        StoreError: nothing is called so.
        UsageError: more than one cell fits where one is meant, or there is nothing to compare.
    """
    layout.require(store)
    # Sweeps that a person asked for come before those of studies, which name cells otherwise.
    newest = reversed(list(layout.sweep_documents(store)))
    sweeps = tuple(sorted(newest, key=lambda document: bool(document.get("study"))))
    if sweep is not None:
        sweeps = tuple(d for d in sweeps if d.get("id") == sweep)
        if not sweeps:
            raise UsageError(f"There is no sweep {sweep} in {store}.")
    known = _Known(store, sweeps, {r.key: r for r in list_cells(store)})
    everything = known.everything()
    left = find_cells(store, baseline, model=model, among=everything)
    right = find_cells(store, candidate, model=model, among=everything)
    left, right = _apart(left, right)
    by_key = [_one_by_key(records, s) for records, s in ((left, baseline), (right, candidate))]
    if all(by_key):
        return _of_two_keys(known, left[0], right[0])
    notes: list[str] = []
    sides = _sides(known, left, right, only=sweep is not None, crosswise=any(by_key), notes=notes)
    pairs: list[tuple[CellRecord, CellRecord]] = []
    spare: tuple[list[CellRecord], list[CellRecord]] = ([], [])
    for name in _models(sides.left, sides.right, crosswise=any(by_key)):
        a = [r for r in sides.left if name is None or r.cell.get("model") == name]
        b = [r for r in sides.right if name is None or r.cell.get("model") == name]
        matched, *rest = _match(_with_images(store, a), _with_images(store, b))
        pairs += matched
        for side in (0, 1):
            if side != sides.sought:
                spare[side].extend(rest[side])
    if not pairs and not any(record.failure for record in (*sides.left, *sides.right)):
        raise _nothing_to_compare(baseline, candidate, sides)
    return _choice(pairs, tuple(spare[0]), tuple(spare[1]), tuple(notes))


def _choice(
    pairs: Iterable[tuple[CellRecord, CellRecord]],
    baseline_only: tuple[CellRecord, ...] = (),
    candidate_only: tuple[CellRecord, ...] = (),
    notes: tuple[str, ...] = (),
) -> Choice:
    whole: list[tuple[CellRecord, CellRecord]] = []
    broken: list[tuple[CellRecord, CellRecord]] = []
    for a, b in pairs:
        (broken if a.failure or b.failure else whole).append((a, b))
    return Choice(tuple(whole), tuple(broken), baseline_only, candidate_only, notes)


def _apart(
    left: list[CellRecord], right: list[CellRecord]
) -> tuple[list[CellRecord], list[CellRecord]]:
    """A side that names some of the other's cells is set against the rest of them."""
    ours, theirs = {r.key for r in left}, {r.key for r in right}
    if ours < theirs:
        return left, [r for r in right if r.key not in ours]
    if theirs < ours:
        return [r for r in left if r.key not in theirs], right
    return left, right


def _one_by_key(records: Sequence[CellRecord], selector: str) -> bool:
    by_key = [r for r in records if r.key.startswith(selector.lower())]
    if len(by_key) > 1 and len(by_key) == len(records):
        raise UsageError(
            f"{selector} is the beginning of several cells' keys:\n{_listed(by_key)}",
            "Give more digits.",
        )
    return len(records) == 1 and len(by_key) == 1


def _of_two_keys(known: _Known, a: CellRecord, b: CellRecord) -> Choice:
    """Two cells named by their keys, with the labels of the newest sweep that lists both."""
    if a.key == b.key:
        raise UsageError(f"{a.key[:12]} and {b.key[:12]} are the same cell.")
    for sweep in known.sweeps:
        listed = known.listed(sweep)
        if {a.key, b.key} <= set(listed):
            a, b = (replace(record, cell=listed[record.key].cell) for record in (a, b))
            break
    return _choice([(a, b)])


def _models(
    left: Sequence[CellRecord], right: Sequence[CellRecord], *, crosswise: bool
) -> list[str | None]:
    ours, theirs = ({str(r.cell.get("model")) for r in side} for side in (left, right))
    if crosswise and not ours & theirs:
        return [None]  # a cell named by its key may be set against another model's
    return [*sorted(ours & theirs if crosswise else ours | theirs)]


def _sides(
    known: _Known,
    left: list[CellRecord],
    right: list[CellRecord],
    *,
    only: bool,
    crosswise: bool,
    notes: list[str],
) -> _Sides:
    for sweep in known.sweeps:
        listed = known.listed(sweep)
        a, b = ([listed[r.key] for r in side if r.key in listed] for side in (left, right))
        if (a and b) or only:
            if len(a) + len(b) < len(left) + len(right):
                notes.append(f"cells of sweep {sweep.get('id')}; older ones are left aside")
            return _Sides(a, b)
        if a:
            return _Sides(a, _older(known, sweep, a, right, crosswise=crosswise, notes=notes), 1)
        if b:
            return _Sides(_older(known, sweep, b, left, crosswise=crosswise, notes=notes), b, 0)
    return _Sides(left, right)


def _older(
    known: _Known,
    newest: Document,
    given: Sequence[CellRecord],
    others: Sequence[CellRecord],
    *,
    crosswise: bool,
    notes: list[str],
) -> list[CellRecord]:
    """The newest cells of a side that the newest sweep does not name, to suit those it names.

    Of cells that differ in nothing but their environment's content the newest counts, failed or
    not. They take the labels of the newest sweep.
    """
    wanted = {
        _subject(known.store, r, crosswise=crosswise): r.cell.get("inputs_key") for r in given
    }
    keys = {record.key for record in others}
    offered = [(r, s) for s in known.sweeps for r in known.listed(s).values() if r.key in keys]
    in_sweeps = {record.key for record, _ in offered}
    found: dict[tuple[str, ...], CellRecord] = {}
    origins: dict[str, None] = {}
    for record, sweep in (*offered, *((r, None) for r in others if r.key not in in_sweeps)):
        subject = _subject(known.store, record, crosswise=crosswise)
        kind = pairing.like(record.cell, ("model", "environment", "route", "executor", *_ALIKE))
        if subject not in wanted or (*subject, *kind) in found:
            continue
        cell = {**record.cell, "inputs_key": wanted[subject]}
        found[*subject, *kind] = replace(record, cell=cell)
        origins[f"sweep {sweep.get('id')}" if sweep else "cells of no sweep"] = None
    if not found:
        raise UsageError(
            f"The newest sweep, {newest.get('id')}, has {given[0].cell.get('environment')} only, "
            f"and no cell of {others[0].cell.get('environment')} answered the same images with "
            "the same model.",
            "Sweep both over the same data: harness sweep --model M --data D --env A --env B; "
            "or compare within an older sweep with --sweep ID.",
        )
    notes.append(
        f"swept apart: {given[0].cell.get('environment')} in sweep {newest.get('id')}, "
        f"{others[0].cell.get('environment')} in {', '.join(origins)}"
    )
    return list(found.values())


def _subject(store: Path, record: CellRecord, *, crosswise: bool) -> tuple[str, str]:
    """What must be equal across sweeps: the images and, unless a cell was named by its key, the model."""
    checkpoint = record.cell.get("checkpoint") or {}
    images = _images_key(store, str(record.cell.get("inputs_key")))
    return images, "" if crosswise else str(checkpoint.get("sha256"))


def _images_key(store: Path, inputs_key: str) -> str:
    """Equal for the same images, whoever made their pixels; of old stores, for the same pixels."""
    try:
        document = layout.read_document(inputs_folder(store, inputs_key) / "inputs.json")
    except StoreError:
        document = {}
    return str(document.get("images_key") or document.get("pixels_key") or inputs_key)


def _with_images(store: Path, records: Sequence[CellRecord]) -> list[CellRecord]:
    """The cells with what their images are known by."""
    keys = {str(r.cell.get("inputs_key")) for r in records}
    known = {key: _images_key(store, key) for key in keys}
    return [
        replace(r, cell={**r.cell, "images_key": known[str(r.cell.get("inputs_key"))]})
        for r in records
    ]


def _match(
    left: Sequence[CellRecord], right: Sequence[CellRecord]
) -> tuple[list[tuple[CellRecord, CellRecord]], list[CellRecord], list[CellRecord]]:
    pairs = []
    rest_a, rest_b = list(left), list(right)
    for names in _STAGES:
        for value in sorted({pairing.like(r.cell, names) for r in rest_a}):
            a = [r for r in rest_a if pairing.like(r.cell, names) == value]
            b = [r for r in rest_b if pairing.like(r.cell, names) == value]
            if len(a) == len(b) == 1 and a[0].key != b[0].key:
                pairs.append((a[0], b[0]))
                rest_a.remove(a[0])
                rest_b.remove(b[0])
    ambiguous = {r.cell.get("images_key") for r in rest_a} & {
        r.cell.get("images_key") for r in rest_b
    }
    if ambiguous:
        sides = [
            [r for r in rest if r.cell.get("images_key") in ambiguous] for rest in (rest_a, rest_b)
        ]
        both = [record for side in sides for record in side]
        raise UsageError(
            f"Several cells fit, and it is not clear which to compare with which:\n{_listed(both)}",
            _how_to_name(*sides),
        )
    return pairs, rest_a, rest_b


def _how_to_name(left: Sequence[CellRecord], right: Sequence[CellRecord]) -> str:
    labels = labels_of(list({r.key: r for r in (*left, *right)}.values()))
    first = labels[left[0].key]
    second = next((labels[r.key] for r in right if labels[r.key] != first), None)
    if second is None:
        return "Name two of them by the beginning of their keys."
    return (
        f"Name two of them as they are listed (harness compare {shlex.quote(first)} "
        f"{shlex.quote(second)}) or by the beginning of their keys."
    )


def _listed(records: Iterable[CellRecord]) -> str:
    unique = list({r.key: r for r in records}.values())
    return "\n".join(f"  {name}" for name in described(unique).values())


def _nothing_to_compare(baseline: str, candidate: str, sides: _Sides) -> UsageError:
    models = [sorted({str(r.cell.get("model")) for r in s}) for s in (sides.left, sides.right)]
    if not set(models[0]) & set(models[1]):
        return UsageError(
            f"{baseline} ran {', '.join(models[0]) or 'nothing'} and {candidate} ran "
            f"{', '.join(models[1]) or 'nothing'}: no model is common to both.",
            "Sweep one model over both: harness sweep --model M --env A --env B.",
        )
    return UsageError(
        f"The cells of {baseline} and {candidate} answered different images.",
        "Sweep both over the same data: harness sweep --model M --data D --env A --env B.",
    )
