"""The suspicions of a store's cells: each judged beside the others over the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.analysis.suspicions import Evidence, suspect
from harness.store.load import CellAnswers
from harness.store.naming import names

_OF_THE_IMAGES = frozenset(
    {"bgr", "sides-swapped", "wrong-normalisation", "shuffled-labels", "low-accuracy"}
)
"""What corrupted images explain as well."""


def suspicions_of(cells: Mapping[str, CellAnswers]) -> list[dict[str, Any]]:
    """What is probably wrong with cells, one object a suspicion with the cell's `key`.

    Images that were corrupted on purpose are no sign of anything: such cells are judged by what
    they cannot explain, and no other is held against them.

    Args:
        cells: answers by key; those whose outputs are no class scores are passed over.
    """
    called = names({**one.cell, "key": key} for key, one in cells.items())
    judged = {key: _evidence(one) for key, one in cells.items() if one.given is not None}
    plain = {key for key in judged if cells[key].cell.get("corruption") in {None, "none"}}
    found: list[dict[str, Any]] = []
    for key, evidence in judged.items():
        beside = [
            (_name(cells[other], called[other]), judged[other])
            for other in judged
            if other in plain
            and other != key
            and cells[other].images.sha256 == cells[key].images.sha256
        ]
        found += [
            {"key": key, **suspicion.document()}
            for suspicion in suspect(evidence, beside if key in plain else ())
            if key in plain or suspicion.kind not in _OF_THE_IMAGES
        ]
    return found


def _name(answers: CellAnswers, called: str) -> str:
    return f"{answers.cell.get('model')} in {called}"


def _evidence(answers: CellAnswers) -> Evidence:
    assert answers.given is not None  # noqa: S101 - the caller looked
    assert answers.scores is not None  # noqa: S101 - they come together
    listed = answers.images.document.get("classes") or []
    return Evidence(
        scores=answers.given,
        kind=answers.kind,
        labels=answers.labels if (answers.labels >= 0).any() else None,
        class_offset=answers.given.shape[1] - answers.scores.shape[1],
        classes=[(int(c["index"]), c.get("wnid"), str(c["name"])) for c in listed] or None,
        names=answers.names,
        weights=str((answers.cell.get("checkpoint") or {}).get("sha256") or ""),
    )
