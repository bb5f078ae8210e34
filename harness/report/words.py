"""Numbers and cells in words: the same in the terminal and in the report."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any

from harness.plan.levels import OWN
from harness.store.cell_routes import asked_of
from harness.store.compiled import given_settings, level_of
from harness.store.naming import names, settings_text, spoken

__all__ = [
    "NOTHING",
    "asked",
    "backend",
    "class_name",
    "count",
    "difference",
    "duration",
    "interval",
    "largest",
    "moment",
    "names",
    "p_value",
    "percent",
    "plural",
    "rate",
    "ratio",
    "reason",
    "share",
    "size",
    "skipped",
    "spoken",
    "whole_names",
]

NOTHING = "\u2013"

Document = dict[str, Any]

# An absolute path up to its last part; the slashes of an address on the web are none.
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)+")


def count(value: float | None) -> str:
    """A whole number with grouped digits: 50,000."""
    return NOTHING if value is None else f"{value:,.0f}"


def plural(value: float | None, noun: str) -> str:
    """A number of things: 1 cell, 2 cells."""
    return f"{count(value)} {noun}" if value == 1 else f"{count(value)} {noun}s"


def moment(text: str) -> str:
    """A recorded time to the minute: 2026-11-21 15:23 UTC; what is no time is left as it is."""
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{when.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def share(value: float | None) -> str:
    """A proportion with three decimals: 0.902."""
    return NOTHING if value is None else f"{value:.3f}"


def percent(value: float | None, digits: int = 2) -> str:
    """A proportion as a percentage; small ones keep a digit that is not zero."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0 %"
    if abs(value) < 10 ** -(digits + 2):
        return f"{100 * value:.1g} %"
    digits = max(0, digits - 1) if abs(value) >= 0.1 else digits
    return f"{100 * value:.{digits}f} %"


def duration(ns: float | None) -> str:
    """A duration in the unit that reads best: 5.41 ms."""
    if ns is None:
        return NOTHING
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            digits = max(0, 3 - len(str(int(ns / size))))
            return f"{ns / size:.{digits}f} {unit}"
    return f"{ns:.0f} ns"


def ratio(value: float | None) -> str:
    """A time ratio with a multiplication sign: 1.30\u00d7; near 1 with three decimals."""
    return NOTHING if value is None else f"{_near_one(value)}\u00d7"


def interval(low: float | None, high: float | None) -> str:
    """An interval of ratios: 0.998 to 1.21; a narrow one with as many decimals as tell its ends."""
    if low is None or high is None:
        return NOTHING
    ends = _near_one(low), _near_one(high)
    for digits in (3, 4):
        if ends[0] == ends[1]:
            ends = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return f"{ends[0]} to {ends[1]}"


def _near_one(value: float) -> str:
    # Floors are a per cent: two decimals would round a claim onto its own limit.
    return f"{value:.3f}" if 0.9 < value < 1.1 else f"{value:.2f}"


def rate(value: float | None) -> str:
    """Things a second: 1,234 or 12.3."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def p_value(value: float | None) -> str:
    """A p-value with two digits: 0.034, 3.1e-05."""
    return NOTHING if value is None else f"{value:.2g}"


def difference(value: float | None, *, identical: bool = False) -> str:
    """A difference of scores; equal bits are called so."""
    if identical:
        return "bit-identical"
    return NOTHING if value is None else f"{value:.2g}"


def largest(pair: Document) -> str:
    """The largest difference of a pair with all measures; scores of unlike kinds have none."""
    if any(not output["comparable"] for output in pair["agreement"]["outputs"]):
        return "not comparable"
    return difference(pair["max_abs_diff"], identical=bool(pair["identical"]))


def backend(cell: Document) -> str:
    """Backend, level, settings and what else is not usual: `onnxruntime · level extended`.

    The settings that a level stands for are not said again; a study's own words stand for both.
    """
    parts = [str(cell.get("backend"))]
    if cell.get("called"):
        parts.append(str(cell["called"]))
    else:
        parts += [] if level_of(cell) == OWN else [spoken(cell, "level")]
        parts.append(settings_text(given_settings(cell), whole=False))
    if cell.get("precision") not in {None, "f32"}:
        precision = str(cell["precision"])
        parts.append("default precision" if precision == "default" else precision)
    if cell.get("instruction_set") not in {None, "own"}:
        parts.append(spoken(cell, "instruction_set"))
    if cell.get("threads") not in {None, 1}:
        parts.append(f"{cell['threads']} threads")
    if cell.get("batch") not in {None, 1}:
        parts.append(f"batch {cell['batch']}")
    parts += asked({**cell, "optimise": None} if cell.get("called") else cell)
    if cell.get("preprocessing") not in {None, "reference"}:
        parts.append(f"pixels by {cell['preprocessing']}")
    if cell.get("corruption") not in {None, "none"}:
        parts.append(str(cell["corruption"]))
    if cell.get("mistake") not in {None, "none"}:
        parts.append(f"mistake: {cell['mistake']}")
    return " · ".join(part for part in parts if part)


def asked(cell: Document) -> list[str]:
    """What was asked of a cell's conversions: opset 17, static quantisation."""
    return [spoken(cell, axis) for axis in asked_of(cell)]


def reason(message: str, length: int = 110) -> str:
    """The first words of a message, without the folders of files that it names."""
    folded = " ".join(_FOLDERS.sub("", message).split())
    if len(folded) <= length:
        return folded
    return f"{folded[:length].rsplit(' ', 1)[0].rstrip(',;:')} …"


def not_shown(why: str) -> str:
    """Why no compiled form is known; that it is a refusal, which is the usual, is left out."""
    return reason(why.removeprefix("unsupported: "))


def whole_names(cells: Iterable[Document]) -> dict[str, str]:
    """As `names`, with the model in front where there are several, by key."""
    listed = list(cells)
    repeats = {str(cell["key"]) for cell in listed if cell.get("role") == "control"}
    places = {
        key: f"{name} (A/A control)" if key in repeats else name
        for key, name in names(listed).items()
    }
    if len({cell.get("model") for cell in listed}) < 2:
        return places
    return {str(c["key"]): f"{c.get('model')} · {places[str(c['key'])]}" for c in listed}


def skipped(combination: Document) -> str:
    """A combination that was not run, and why."""
    return f"{combination['model']} in {combination['environment']}: {combination['reason']}"


def class_name(flip: Document, side: str) -> str:
    """The class of a flip on one side (`label`, `a` or `b`): number and name."""
    number, name = flip[side], flip.get(f"{side}_name")
    if number is None:
        return NOTHING if side == "label" else "none (NaN)"
    return f"{number} {name}" if name else str(number)


def size(size_bytes: float) -> str:
    """A size in the unit that reads best: 12.3 MiB."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes:.0f} B"
