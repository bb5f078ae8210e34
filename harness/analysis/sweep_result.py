"""One sweep as one JSON object: cells, controls, pairs, failures. What `sweep --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis import pairing, ranking
from harness.analysis.cell_times import cell_times
from harness.analysis.conversions import Compared, find_conversions
from harness.analysis.levels import LevelGroup, group_levels, levels_of
from harness.analysis.pair_times import Timings, add_times
from harness.analysis.pairs import describe_pair, measure, same_answers
from harness.analysis.ranks import TOP
from harness.analysis.suspected import suspicions_of
from harness.analysis.values import chunks, value_difference
from harness.errors import StoreError
from harness.execution.bundles import answers_folder
from harness.store import layout
from harness.store.compiled import compile_costs, compiled_of, level_of
from harness.store.load import NO_LABEL, CellAnswers, load_cell, load_images, same_images
from harness.store.sessions import Session, find_sessions

FLIPS_LISTED = 1000
"""At most so many flips of a pair are listed image by image; the counts are always whole."""

Document = dict[str, Any]


@dataclass(frozen=True)
class _Seen:
    """What is kept of a cell's answers while pairs are made: not the scores themselves."""

    answers: CellAnswers
    best: npt.NDArray[np.int64] | None  # [N, min(5, C)]


def sweep_result(store: Path, sweep_id: str) -> Document:
    """Everything a sweep found.

    Returns:
        `cells` and `controls` (one object a cell), `pairs` (every two comparable cells; those
        with the model's reference cell carry all measures under `agreement`; times are judged
        together with those of all pairs that begin with the same cell), `noise` (each control
        against the cell that it repeats), `levels` (what the levels
        and settings of a backend change, see `levels_of`; inert pairs are marked so wherever they
        are), `conversions` (each converted cell, its steps
        and how far it is from its source), `suspicions` (what is probably wrong with a
        cell, from its answers alone), `failures`, `skipped`, `excluded` and `problems` (what could not be timed, bundles that could not be read);
        `budget` of a sweep that had only so long.

    Raises:
        StoreError: there is no such sweep, or its document is damaged.
    """
    sweep = layout.read_document(_existing(store, sweep_id))
    listed = [dict(cell) for cell in sweep.get("cells", [])]
    problems = [dict(problem) for problem in sweep.get("problems") or []]
    seen = _read_answers(store, listed, problems)
    prefer = [str(s) for s in sweep.get("sessions", [])]
    sessions = find_sessions(store, [c["key"] for c in listed], prefer)
    rows = [_cell(store, cell, seen.get(cell["key"]), sessions) for cell in listed]
    cells = [row for row in rows if row["role"] != "control"]
    controls = [row for row in rows if row["role"] == "control"]
    references = _references(cells, seen, sweep.get("baseline"))
    groups = group_levels(_documents(cells, seen), set(seen), set(references.values()))
    pairs = _pairs(cells, seen, references, groups, problems)
    noise = _noise(cells, controls, seen)
    _add_times(pairs, noise, groups, set(references.values()), Timings(sessions))
    failures = list(sweep.get("failures", []))
    return {
        "schema_version": 1,
        "sweep": sweep.get("id", sweep_id),
        "created": sweep.get("created"),
        "baseline": sweep.get("baseline"),
        "cells": cells,
        "controls": controls,
        "pairs": pairs,
        "noise": noise,
        "levels": levels_of(groups, cells, pairs, noise, failures),
        "conversions": _conversions(store, sweep, cells, seen, pairs),
        "suspicions": suspicions_of(
            {cell["key"]: seen[cell["key"]].answers for cell in cells if cell["key"] in seen}
        ),
        "failures": failures,
        "skipped": list(sweep.get("skipped", [])),
        "excluded": _excluded(seen),
        "problems": problems,
        **({"budget": sweep["budget"]} if sweep.get("budget") else {}),
    }


def _existing(store: Path, sweep_id: str) -> Path:
    layout.require(store)
    path = layout.sweep_path(store, sweep_id)
    if not path.is_file():
        _refuse_study(store, sweep_id)
        known = [str(one["id"]) for one in layout.sweep_documents(store) if not one.get("study")]
        raise StoreError(
            f"There is no sweep {sweep_id} in {store}.",
            f"Sweeps there are: {', '.join(known[-5:])}." if known else "Run `harness sweep`.",
        )
    return path


def _refuse_study(store: Path, study_id: str) -> None:
    """A study has a page of its own, which it writes itself."""
    kept = layout.study_path(store, study_id)
    if not kept.is_file():
        return
    pages = [kept.with_name(name) for name in ("study.html", "study.md")]
    page = next((page for page in pages if page.is_file()), None)
    raise StoreError(
        f"{study_id} is a study, not a sweep.",
        f"Open {page}." if page else "It is not finished: the same command goes on with it.",
    )


def _read_answers(
    store: Path, listed: Sequence[Document], problems: list[Document]
) -> dict[str, _Seen]:
    seen = {}
    images_of = cache(partial(load_images, store))
    for cell in listed:
        if cell.get("status") == "failed":
            continue
        try:
            answers = load_cell(store, cell["key"], cell.get("inputs_key"), images_of)
        except StoreError as error:
            problems.append({"key": cell["key"], "message": error.message})
            continue
        best = None
        if answers.scores is not None:
            best = _top_lists(answers.scores)
        # Names and labels are those of this sweep, which may have found the cell finished.
        own = {name: value for name, value in cell.items() if name != "status"}
        seen[cell["key"]] = _Seen(replace(answers, cell={**answers.cell, **own}), best)
    return seen


def _top_lists(scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    top = min(TOP, scores.shape[1])
    parts = [ranking.top_k(scores[part], top) for part in chunks(*scores.shape)]
    return np.concatenate(parts) if parts else np.empty((0, top), dtype=np.int64)


def _cell(
    store: Path, listed: Document, seen: _Seen | None, sessions: Sequence[Session]
) -> Document:
    source = {**(seen.answers.cell if seen else {}), **listed}
    row: Document = {"key": listed["key"], **{name: source.get(name) for name in pairing.COLUMNS}}
    row["settings"], row["level"] = row["settings"] or {}, level_of(source)
    row["role"] = row["role"] or "cell"
    row["status"] = listed.get("status")
    row.update(_accuracy(seen))
    answers = seen.answers.answers if seen else {}
    for name in ("kind", "load_ns", "compile_ns", "first_inference_ns", "nonfinite"):
        row[name] = answers.get(name)
    compiled = compiled_of(answers)
    row.update(compiled=compiled.document() if compiled else None, **compile_costs(answers))
    row.update(cell_times(sessions, listed["key"], int(row["batch"] or 1)))
    row["path"] = str(answers_folder(store, listed["key"])) if seen else None
    return row


def _accuracy(seen: _Seen | None) -> Document:
    empty: Document = dict.fromkeys(("images", "excluded", "classes", "labelled", "top1", "top5"))
    if seen is None:
        return empty
    truth = seen.answers.labels
    known = truth != NO_LABEL
    row = {
        **empty,
        "images": seen.answers.count,
        "excluded": len(seen.answers.images.excluded),
        "labelled": int(known.sum()),
    }
    if seen.best is None or seen.answers.scores is None:
        return row
    row["classes"] = int(seen.answers.scores.shape[1])
    if known.any():
        right = seen.best[known] == truth[known][:, None]
        row["top1"] = float(right[:, 0].mean())
        row["top5"] = float(right.any(axis=1).mean())
    return row


def _references(
    cells: Sequence[Document], seen: dict[str, _Seen], baseline: str | None
) -> dict[str, str]:
    """The reference cell of each model: the sweep's baseline, or the one most like it."""
    documents = {cell["key"]: cell for cell in _documents(cells, seen)}
    anchor = documents.get(str(baseline))
    references: dict[str, str] = {}
    for model in dict.fromkeys(str(c["model"]) for c in cells):
        group = [c for c in cells if str(c["model"]) == model and c["key"] in seen]
        if not group:
            continue
        if anchor is None:
            references[model] = group[0]["key"]
            continue
        # Stable: among equals the sweep's own order decides.
        references[model] = min(
            (c["key"] for c in group), key=lambda key: _distance(documents[key], anchor)
        )
    return references


def _documents(cells: Sequence[Document], seen: dict[str, _Seen]) -> list[Document]:
    """What is known of each cell: cell.json of those with answers."""
    return [seen[c["key"]].answers.cell if c["key"] in seen else c for c in cells]


def _distance(cell: Document, anchor: Document) -> tuple[bool, bool, int]:
    unlike = [name for name in pairing.axes(anchor, cell) if name != "model"]
    return ("environment" in unlike, "backend" in unlike, len(unlike))


def _pairs(
    cells: Sequence[Document],
    seen: dict[str, _Seen],
    references: dict[str, str],
    groups: Sequence[LevelGroup],
    problems: list[Document],
) -> list[Document]:
    leading = set(references.values())
    beside = {key: group.reference for group in groups for key in group.keys}
    ordered = sorted(
        cells, key=lambda c: (c["key"] not in leading, beside.get(c["key"]) != c["key"])
    )
    pairs = []
    for a, b in combinations([c for c in ordered if c["key"] in seen], 2):
        x, y = seen[a["key"]].answers, seen[b["key"]].answers
        if not same_images(x.images, y.images):
            continue
        reason = _unlike(x, y)
        if reason:
            if a["model"] == b["model"]:
                problems.append({"key": b["key"], "message": f"{reason} {a['key'][:12]}"})
            continue
        full = a["model"] == b["model"] and references[str(a["model"])] == a["key"]
        between = a["model"] != b["model"] and {a["key"], b["key"]} <= leading
        pair = _pair(a, b, seen, full=full or between)
        if not full and beside.get(b["key"]) == a["key"]:
            largest = _largest_difference(x, y)
            pair.update(identical=same_answers(x, y), max_abs_diff=largest)
        pairs.append(pair)
    return pairs


def _add_times(
    pairs: Sequence[Document],
    noise: Sequence[Document],
    groups: Sequence[LevelGroup],
    leading: set[str],
    timings: Timings,
) -> None:
    """Judge the times of all pairs that begin with the same cell as one family.

    For a model's reference these are the pairs that are shown against it; a backend's own levels
    are shown apart from all else. A control asks another question (how much does the same cell
    differ from itself?), so each is a family of its own.
    """
    levels = {
        (group.reference, key)
        for group in groups
        for key in group.keys
        if group.reference not in leading
    }
    families: dict[tuple[str, bool], list[Document]] = {}
    for pair in pairs:
        families.setdefault((pair["a"], (pair["a"], pair["b"]) in levels), []).append(pair)
    add_times([*families.values(), *([pair] for pair in noise)], timings)


def _unlike(a: CellAnswers, b: CellAnswers) -> str:
    """Why two cells over the same images cannot be compared; empty where they can."""
    if (a.scores is None) != (b.scores is None):
        return "has other kinds of outputs than"
    if a.scores is None or b.scores is None or a.scores.shape == b.scores.shape:
        return ""
    return f"has {b.scores.shape[1]} classes, unlike the {a.scores.shape[1]} of"


def _pair(a: Document, b: Document, seen: dict[str, _Seen], *, full: bool) -> Document:
    x, y = seen[a["key"]], seen[b["key"]]
    found = measure(x.answers, y.answers) if full else None
    flips = None
    if x.best is not None and y.best is not None:
        flips = int((x.best[:, 0] != y.best[:, 0]).sum())
    return describe_pair(x.answers, y.answers, flips, found, FLIPS_LISTED)


def _noise(
    cells: Sequence[Document],
    controls: Sequence[Document],
    seen: dict[str, _Seen],
) -> list[Document]:
    """Each A/A control against the cell that it repeats: what two runs of the same differ by."""
    found = []
    for control in controls:
        for cell in cells:
            if not {cell["key"], control["key"]} <= set(seen):
                continue
            x, y = seen[cell["key"]].answers, seen[control["key"]].answers
            if pairing.axes(x.cell, y.cell) or not same_images(x.images, y.images):
                continue
            found.append(_pair(cell, control, seen, full=True))
            break
    return found


def _conversions(
    store: Path,
    sweep: Document,
    cells: Sequence[Document],
    seen: dict[str, _Seen],
    pairs: Sequence[Document],
) -> list[Document]:
    measured = {frozenset((pair["a"], pair["b"])): pair for pair in pairs}

    def compared(a: str, b: str) -> Compared | None:
        pair = measured.get(frozenset((a, b)))
        if pair is None:
            return None
        largest = pair["max_abs_diff"]
        if pair["agreement"] is None:
            largest = _largest_difference(seen[a].answers, seen[b].answers)
        return Compared(pair["flips"], pair["images"], largest)

    keys = {cell["key"] for cell in cells}
    listed = {str(c["key"]): dict(c) for c in sweep.get("cells", []) if c["key"] in keys}
    documents = [
        {**(seen[key].answers.cell if key in seen else {}), **cell} for key, cell in listed.items()
    ]
    top1 = {cell["key"]: cell["top1"] for cell in cells if cell["key"] in seen}
    return find_conversions(store, documents, top1, sweep.get("failures") or [], compared)


def _largest_difference(a: CellAnswers, b: CellAnswers) -> float | None:
    """Over the outputs of two cells; None where they are not of one kind."""
    if a.kind != b.kind or [x.shape for x in a.outputs] != [x.shape for x in b.outputs]:
        return None
    found = [
        value_difference("", x, y, a.count).difference
        for x, y in zip(a.outputs, b.outputs, strict=True)
    ]
    if any(one.nonfinite_a or one.nonfinite_b for one in found):
        return None
    return max((one.max_abs_diff for one in found if one.max_abs_diff is not None), default=None)


def _excluded(seen: dict[str, _Seen]) -> list[Document]:
    by_inputs = {s.answers.images.key: s.answers.images.excluded for s in seen.values()}
    return [{"inputs_key": key, **image} for key, images in by_inputs.items() for image in images]
