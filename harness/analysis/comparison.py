"""Comparing chosen cells: how they agree, what could not be measured, and the gate's decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.analysis import gate, pairing
from harness.analysis.choice import Choice
from harness.analysis.gate import Rule
from harness.analysis.pairs import describe_pair, measure
from harness.errors import UsageError
from harness.store.load import CellAnswers, CellRecord, described, load_cell, same_images
from harness.store.sessions import Session, find_sessions

Document = dict[str, Any]


def compare_cells(store: Path, choice: Choice, rules: Sequence[Rule] = ()) -> Document:
    """Measure every chosen pair and decide the gate.

    Returns:
        A JSON object: `cells`, `pairs` (as those of a sweep, with every flip under `flipped` and
        the broken rules under `violations`), `unmeasured` (pairs of which one side has no
        answers, with the `reason`), `baseline_only`, `candidate_only`, `rules`, `allowed` (None
        without rules; False where anything is unmeasured), `notes`.

    Raises:
        UsageError: a pair answered different images or has different classes.
    """
    records = [record for pair in choice.pairs for record in pair]
    failed = [record for pair in choice.unmeasured for record in pair]
    alone = (*choice.baseline_only, *choice.candidate_only)
    called = described([*records, *failed, *alone])
    sessions = find_sessions(store, [r.key for r in records])
    pairs = [_compared(store, a, b, sessions, list(rules), called) for a, b in choice.pairs]
    unmeasured = [
        {
            "a": a.key,
            "b": b.key,
            "reason": "; ".join(_failure(r, called) for r in (a, b) if r.failure),
        }
        for a, b in choice.unmeasured
    ]
    missing = [
        f"{called[record.key]} has no counterpart in the candidate"
        for record in choice.baseline_only
    ]
    broken = any(pair["violations"] for pair in pairs) or bool(missing) or bool(unmeasured)
    cells = {r.key: _described(r) for r in (*records, *failed, *alone)}
    return {
        "schema_version": 1,
        "cells": list(cells.values()),
        "pairs": pairs,
        "unmeasured": unmeasured,
        "baseline_only": [r.key for r in choice.baseline_only],
        "candidate_only": [r.key for r in choice.candidate_only],
        "rules": [rule.text for rule in rules],
        "allowed": not broken if rules else None,
        "notes": [*choice.notes, *missing, *(_failure(r, called) for r in alone if r.failure)],
    }


def _failure(record: CellRecord, called: Mapping[str, str]) -> str:
    said = " ".join(record.failure.split()).removesuffix(".")
    return f"{called[record.key]} has no answers ({said})"


def _described(record: CellRecord) -> Document:
    return {
        "key": record.key,
        **{name: record.cell.get(name) for name in pairing.COLUMNS},
        "failure": record.failure or None,
        "path": None if record.failure else str(record.path),
    }


def _compared(
    store: Path,
    a: CellRecord,
    b: CellRecord,
    sessions: Sequence[Session],
    rules: list[Rule],
    called: Mapping[str, str],
) -> Document:
    x, y = (_load(store, record) for record in (a, b))
    _same_images_or_refuse(x, y, called)
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


def _load(store: Path, record: CellRecord) -> CellAnswers:
    """A cell's answers under the names and labels of the sweep that it was chosen from."""
    answers = load_cell(store, record.key, record.cell.get("inputs_key"))
    return replace(answers, cell={**answers.cell, **record.cell})


def _same_images_or_refuse(x: CellAnswers, y: CellAnswers, called: Mapping[str, str]) -> None:
    if not same_images(x.images, y.images):
        raise UsageError(
            f"{called[x.key]} answered {x.count} images and {called[y.key]} answered {y.count} "
            "others: their answers cannot be compared.",
            "Sweep both over the same data (same --data, --limit and labels).",
        )
