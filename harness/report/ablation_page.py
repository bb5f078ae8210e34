"""The page of an ablation: one file that needs nothing but a browser."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.canonical import storage_errors
from harness.report import ablation, charts, times, words
from harness.report.html import template

Document = dict[str, Any]


def write_ablation(document: Mapping[str, Any], out: Path) -> Path:
    """Write an ablation's page.

    Args:
        document: the study, as `study.json` holds it.
        out: the file to write; its folder is made.

    Returns:
        `out`.

    Raises:
        StoreError: the page cannot be written.
    """
    staged = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    with storage_errors(out):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            staged.write_text(render(document), encoding="utf-8")
            os.replace(staged, out)  # noqa: PTH105 - the same call on every platform
        finally:
            staged.unlink(missing_ok=True)
    return out


def render(document: Mapping[str, Any]) -> str:
    """The page of an ablation, as text."""
    ratios = charts.ratio_scale(
        row["pair"][side]
        for row in document["rows"]
        if row["pair"] is not None
        for side in ("time_ratio", "time_low", "time_high")
    )
    return template("ablation.html.j2").render(
        study=document,
        subject=ablation.subject(document),
        notes=ablation.notes(document),
        sections=[_view(section, ratios) for section in ablation.sections(document)],
        ticks=ratios.ticks,
        timed=any(row["pair"] and row["pair"]["time_ratio"] for row in document["rows"]),
        effects=ablation.by_effect(document),
        claims=times.CLAIMS,
        words=words,
    )


def _view(section: ablation.Section, ratios: charts.RatioScale) -> Document:
    return {
        "title": section.title,
        "lead": section.lead,
        "lines": [_line(line, ratios) for line in section.lines],
        "inert": ablation.inert_in_words(section) if section.inert else "",
        "invalid": section.invalid,
        "failed": section.failed,
    }


def _line(line: ablation.Line, ratios: charts.RatioScale) -> Document:
    pair = line.row["pair"]
    return {
        "name": line.name,
        "key": str(line.row["key"] or "")[:12],
        "flips": bool(pair and pair["flips"]),
        "texts": line.texts,
        "plot": _plot(pair, ratios, ratios.ticks) if pair and pair["time_ratio"] else None,
    }


def _plot(pair: Document, ratios: charts.RatioScale, ticks: Sequence[charts.Tick]) -> Document:
    verdict = pair["time_verdict"]
    return {
        "at": ratios.at(pair["time_ratio"]),
        "low": ratios.at(pair["time_low"] or pair["time_ratio"]),
        "high": ratios.at(pair["time_high"] or pair["time_ratio"]),
        "one": ratios.at(1.0),
        "ticks": ticks,
        "words": times.said(verdict),
        "state": times.state(verdict),
    }
