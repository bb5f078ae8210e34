"""Comparing cells that a person named: which with which, how they agree, and the gate's decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.analysis import gate, pairing
from harness.analysis.gate import Rule
from harness.analysis.pairs import describe_pair, measure
from harness.errors import UsageError
from harness.store import layout
from harness.store.load import CellAnswers, CellRecord, find_cells, load_cell, same_images
from harness.store.sessions import Session, find_sessions

Document = dict[str, Any]

_STAGES = (
    ("inputs_key", "backend", "settings", "precision", "device", "threads", "batch"),
    ("inputs_key", "precision", "device", "threads", "batch"),
    ("inputs_key",),
)
"""Like is matched with like: first alike in everything but the environment, then loosely."""

_SHOWN_OF_CELL = (
    "model",
    "environment",
    "stack",
    "version",
    "backend",
    "settings",
    "precision",
    "executor",
    "device",
    "device_name",
    "threads",
    "batch",
    "role",
    "inputs_key",
)


@dataclass(frozen=True)
class Choice:
    """Which cells are compared.

    Attributes:
        pairs: (baseline, candidate) each.
        baseline_only: baseline cells without a counterpart.
        candidate_only: candidate cells without a counterpart.
        notes: how the choice was made, where that is not obvious.
    """

    pairs: tuple[tuple[CellRecord, CellRecord], ...]
    baseline_only: tuple[CellRecord, ...] = ()
    candidate_only: tuple[CellRecord, ...] = ()
    notes: tuple[str, ...] = ()


def choose(
    store: Path,
    baseline: str,
    candidate: str,
    *,
    model: str | None = None,
    sweep: str | None = None,
) -> Choice:
    """Match the cells of a baseline with those of a candidate, model by model, like with like.

    Args:
        store: the results folder.
        baseline: the beginning of a cell's key, an environment, or `environment/backend`.
        candidate: likewise.
        model: only this model.
        sweep: only cells of this sweep. By default the newest sweep that has both sides, else
            the whole store.

    Raises:
        StoreError: nothing is called so.
        UsageError: more than one cell fits where one is meant, or there is nothing to compare.
    """
    left = find_cells(store, baseline, model=model)
    right = find_cells(store, candidate, model=model)
    notes: list[str] = []
    by_key = [_one_by_key(records, s) for records, s in ((left, baseline), (right, candidate))]
    if all(by_key):
        if left[0].key == right[0].key:
            raise UsageError(f"{baseline} and {candidate} are the same cell.")
        return Choice(((left[0], right[0]),))
    left, right = _of_one_sweep(store, left, right, sweep, notes)
    pairs: list[tuple[CellRecord, CellRecord]] = []
    spare: tuple[list[CellRecord], list[CellRecord]] = ([], [])
    for name in _models(left, right, crosswise=any(by_key)):
        a = [r for r in left if name is None or r.cell.get("model") == name]
        b = [r for r in right if name is None or r.cell.get("model") == name]
        matched, spare_a, spare_b = _match(a, b)
        pairs += matched
        spare[0].extend(spare_a)
        spare[1].extend(spare_b)
    if not pairs:
        raise _nothing_to_compare(baseline, candidate, left, right)
    return Choice(tuple(pairs), tuple(spare[0]), tuple(spare[1]), tuple(notes))


def _one_by_key(records: Sequence[CellRecord], selector: str) -> bool:
    by_key = [r for r in records if r.key.startswith(selector.lower())]
    if len(by_key) > 1 and len(by_key) == len(records):
        raise UsageError(
            f"{selector} is the beginning of several cells' keys:\n{_listed(by_key)}",
            "Give more digits.",
        )
    return len(records) == 1 and len(by_key) == 1


def _models(
    left: Sequence[CellRecord], right: Sequence[CellRecord], *, crosswise: bool
) -> list[str | None]:
    ours, theirs = ({str(r.cell.get("model")) for r in side} for side in (left, right))
    if crosswise and not ours & theirs:
        return [None]  # a cell named by its key may be set against another model's
    return [*sorted(ours & theirs if crosswise else ours | theirs)]


def _of_one_sweep(
    store: Path,
    left: list[CellRecord],
    right: list[CellRecord],
    sweep: str | None,
    notes: list[str],
) -> tuple[list[CellRecord], list[CellRecord]]:
    documents = list(layout.sweep_documents(store))
    if sweep is not None:
        documents = [d for d in documents if d.get("id") == sweep]
        if not documents:
            raise UsageError(f"There is no sweep {sweep} in {store}.")
    for document in reversed(documents):
        keys = {str(c.get("key")) for c in document.get("cells", [])}
        a, b = ([r for r in side if r.key in keys] for side in (left, right))
        if (a and b) or sweep is not None:
            if len(a) + len(b) < len(left) + len(right):
                notes.append(f"cells of sweep {document.get('id')}; older ones are left aside")
            return a, b
    return left, right


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
    ambiguous = {r.cell.get("inputs_key") for r in rest_a} & {
        r.cell.get("inputs_key") for r in rest_b
    }
    if ambiguous:
        both = [r for r in (*rest_a, *rest_b) if r.cell.get("inputs_key") in ambiguous]
        raise UsageError(
            f"Several cells fit, and it is not clear which to compare with which:\n{_listed(both)}",
            "Name two of them by the beginning of their keys, or ENVIRONMENT/BACKEND.",
        )
    return pairs, rest_a, rest_b


def _listed(records: Iterable[CellRecord]) -> str:
    return "\n".join(f"  {name}" for name in dict.fromkeys(r.name for r in records))


def _nothing_to_compare(
    baseline: str, candidate: str, left: Sequence[CellRecord], right: Sequence[CellRecord]
) -> UsageError:
    models = [sorted({str(r.cell.get("model")) for r in side}) for side in (left, right)]
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


def compare_cells(store: Path, choice: Choice, rules: Sequence[Rule] = ()) -> Document:
    """Measure every chosen pair and decide the gate.

    Returns:
        A JSON object: `cells`, `pairs` (as those of a sweep, with every flip under `flipped` and
        the broken rules under `violations`), `baseline_only`, `candidate_only`, `rules`,
        `allowed` (None without rules), `notes`.

    Raises:
        UsageError: a pair answered different images or has different classes.
    """
    records = [record for pair in choice.pairs for record in pair]
    sessions = find_sessions(store, [r.key for r in records])
    pairs = [_compared(store, a, b, sessions, list(rules)) for a, b in choice.pairs]
    missing = [
        f"{record.name} has no counterpart in the candidate" for record in choice.baseline_only
    ]
    broken = any(pair["violations"] for pair in pairs) or bool(missing)
    cells = {
        r.key: _described(r) for r in (*records, *choice.baseline_only, *choice.candidate_only)
    }
    return {
        "schema_version": 1,
        "cells": list(cells.values()),
        "pairs": pairs,
        "baseline_only": [r.key for r in choice.baseline_only],
        "candidate_only": [r.key for r in choice.candidate_only],
        "rules": [rule.text for rule in rules],
        "allowed": not broken if rules else None,
        "notes": [*choice.notes, *missing],
    }


def _described(record: CellRecord) -> Document:
    return {
        "key": record.key,
        **{name: record.cell.get(name) for name in _SHOWN_OF_CELL},
        "path": str(record.path),
    }


def _compared(
    store: Path,
    a: CellRecord,
    b: CellRecord,
    sessions: Sequence[Session],
    rules: list[Rule],
) -> Document:
    x, y = load_cell(store, a.key), load_cell(store, b.key)
    _same_images_or_refuse(x, y, a, b)
    found = measure(x, y)
    ratio = pairing.pair_ratio(sessions, a.key, b.key)
    broken = gate.violations(rules, found, ratio)
    return {
        **describe_pair(x, y, found.flips, found, ratio),
        "violations": [
            {**asdict(v), "images": [{"image": i, "name": x.names[i]} for i in v.images]}
            for v in broken
        ],
    }


def _same_images_or_refuse(x: CellAnswers, y: CellAnswers, a: CellRecord, b: CellRecord) -> None:
    if not same_images(x.images, y.images):
        raise UsageError(
            f"{a.name} answered {x.count} images and {b.name} answered {y.count} others: "
            "their answers cannot be compared.",
            "Sweep both over the same data (same --data, --limit and labels).",
        )
