"""Comparing chosen cells: how they agree, what could not be measured, and the gate's decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.analysis import gate, pairing
from harness.analysis.choice import Choice
from harness.analysis.gate import Rule
from harness.analysis.pair_agreement import PairAgreement
from harness.analysis.pair_times import Timings, add_times
from harness.analysis.pairs import describe_pair, measure
from harness.analysis.time_verdict import TimeVerdict
from harness.errors import UsageError
from harness.store.compiled import compile_costs, compiled_of, level_of
from harness.store.load import CellAnswers, CellRecord, described, load_cell, same_images
from harness.store.sessions import find_sessions

Document = dict[str, Any]


@dataclass(frozen=True)
class _Measured:
    agreement: PairAgreement
    names: Sequence[str]
    compiled: Mapping[str, Document]


def compare_cells(store: Path, choice: Choice, rules: Sequence[Rule] = ()) -> Document:
    """Measure every chosen pair and decide the gate.

    Returns:
        A JSON object: `cells` (with what they were compiled to), `pairs` (as those of a sweep, with every flip under `flipped`, the
        broken rules under `violations` and those about INVALID times under `undecided`; times of
        one model's pairs are judged as one family), `unmeasured` (pairs of which one side has no
        answers, with the `reason`), `baseline_only`, `candidate_only`, `rules`, `allowed` (False
        where a rule is broken or anything is unmeasured; else None without rules, and where one
        could not be decided), `undecided` (how many could not), `notes`.

    Raises:
        UsageError: a pair answered different images or has different classes.
    """
    records = [record for pair in choice.pairs for record in pair]
    failed = [record for pair in choice.unmeasured for record in pair]
    alone = (*choice.baseline_only, *choice.candidate_only)
    called = described([*records, *failed, *alone])
    sessions = find_sessions(store, [r.key for r in records])
    measured = [_compared(store, a, b, called) for a, b in choice.pairs]
    pairs = [pair for pair, _ in measured]
    times = _add_times(choice, pairs, Timings(sessions))
    for pair, found in measured:
        _apply(list(rules), pair, found, times[pair["a"], pair["b"]])
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
    undecided = sum(len(pair["undecided"]) for pair in pairs)
    compiled = {key: said for _, found in measured for key, said in found.compiled.items()}
    cells = {r.key: _described(r, compiled) for r in (*records, *failed, *alone)}
    return {
        "schema_version": 1,
        "cells": list(cells.values()),
        "pairs": pairs,
        "unmeasured": unmeasured,
        "baseline_only": [r.key for r in choice.baseline_only],
        "candidate_only": [r.key for r in choice.candidate_only],
        "rules": [rule.text for rule in rules],
        "allowed": _allowed(rules, broken=broken, undecided=undecided),
        "undecided": undecided,
        "notes": [*choice.notes, *missing, *(_failure(r, called) for r in alone if r.failure)],
    }


def _allowed(rules: Sequence[Rule], *, broken: bool, undecided: int) -> bool | None:
    if not rules:
        return None
    if broken:
        return False
    return None if undecided else True


def _failure(record: CellRecord, called: Mapping[str, str]) -> str:
    said = " ".join(record.failure.split()).removesuffix(".")
    return f"{called[record.key]} has no answers ({said})"


def _described(record: CellRecord, compiled: Mapping[str, Document]) -> Document:
    return {
        "key": record.key,
        **{name: record.cell.get(name) for name in pairing.COLUMNS},
        "level": level_of(record.cell),
        **compiled.get(record.key, _NOT_COMPARED),
        "failure": record.failure or None,
        "path": None if record.failure else str(record.path),
    }


def _compared(
    store: Path,
    a: CellRecord,
    b: CellRecord,
    called: Mapping[str, str],
) -> tuple[Document, _Measured]:
    x, y = (_load(store, record) for record in (a, b))
    _same_images_or_refuse(x, y, called)
    found = measure(x, y)
    compiled = {one.key: _compiling(one.answers) for one in (x, y)}
    return describe_pair(x, y, found.flips, found), _Measured(found, x.names, compiled)


def _compiling(answers: Document) -> Document:
    """What a cell was compiled to, and at what cost."""
    found = compiled_of(answers)
    return {
        "compiled": found.document() if found else None,
        **{name: answers.get(name) for name in ("load_ns", "compile_ns")},
        **compile_costs(answers),
    }


_NOT_COMPARED = _compiling({})


def _add_times(
    choice: Choice, pairs: Sequence[Document], timings: Timings
) -> dict[tuple[str, str], TimeVerdict]:
    families: dict[str, list[Document]] = {}
    for (a, _), pair in zip(choice.pairs, pairs, strict=True):
        families.setdefault(str(a.cell.get("model")), []).append(pair)
    return add_times(families.values(), timings)


def _apply(rules: list[Rule], pair: Document, found: _Measured, time: TimeVerdict) -> None:
    """Add to a pair which rules it breaks, and which about its time cannot be decided."""
    broken = gate.violations(rules, found.agreement, time)
    pair["violations"] = [
        {**asdict(v), "images": [{"image": i, "name": found.names[i]} for i in v.images]}
        for v in broken
    ]
    pair["undecided"] = [asdict(one) for one in gate.undecided(rules, time)]


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
