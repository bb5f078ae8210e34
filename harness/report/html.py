"""The report: one sweep as one HTML page that needs nothing but a browser."""

from __future__ import annotations

import functools
import os
import re
import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from harness.analysis.sweep_result import sweep_result
from harness.analysis.time_verdict import NOT_JUDGED
from harness.canonical import storage_errors
from harness.errors import StoreError
from harness.report import budget, charts, levels, times, words
from harness.report.conversions import LEAD, SQUARE, model_views
from harness.report.suspicions import gathered
from harness.report.time_views import PAPER, paper_rows, parts, throughput
from harness.report.verdict import verdict
from harness.store import layout

FLIPS_SHOWN = 200
# Of so many pairs all flips up to FLIPS_SHOWN are on the page; of more the fewer of each.
_PAIRS_WHOLE = 20
_FLIPS_AT_LEAST = 10
_SQUARE_CELLS = 32
_LISTED = 20

Document = dict[str, Any]


def write_report(store: Path, sweep_id: str, out: Path, result: Document | None = None) -> Path:
    """Write the report of a sweep.

    The page is self-contained (no script, no request), follows the reader's light or dark
    scheme, and escapes everything that it shows.

    Args:
        store: the results folder.
        sweep_id: which sweep.
        out: the file to write; its folder is made.
        result: the sweep's `sweep_result`, where the caller has it already.

    Returns:
        `out`.

    Raises:
        StoreError: there is no such sweep, or the page cannot be written.
    """
    if result is None:
        result = sweep_result(store, sweep_id)
    sweep = layout.read_document(layout.sweep_path(store, sweep_id))
    environments = [_environment(cell, result) for cell in result["cells"]]
    page = render(result, sweep.get("spec") or {}, environments, store)
    staged = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    with storage_errors(out):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            staged.write_text(page, encoding="utf-8")
            os.replace(staged, out)  # noqa: PTH105 - the same call on every platform
        finally:
            staged.unlink(missing_ok=True)
    return out


def page_template() -> jinja2.Template:
    """The template of a sweep's page."""
    return template("page.html.j2")


@functools.cache
def template(name: str) -> jinja2.Template:
    """A page's template; it is compiled once, which takes longer than filling it in."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for word in (
        *("count", "plural", "share", "percent", "duration"),
        *("ratio", "interval", "difference", "moment", "reason", "rate"),
    ):
        templates.filters[word] = getattr(words, word)
    templates.filters["breakable"] = _breakable
    return templates.get_template(name)


def render(result: Document, spec: Document, environments: Sequence[Document], store: Path) -> str:
    """The page of a sweep's result, as text.

    Args:
        result: what `harness.analysis.sweep_result` returns.
        spec: the sweep's specification, shown so that it can be run again.
        environments: for each cell its facts, flattened.
        store: the results folder, for the commands that the page shows.
    """
    return page_template().render(
        result=result,
        verdict=verdict(result),
        budget=budget.sentence(result),
        suspected=gathered(result.get("suspicions") or []),
        names=words.names(_by_key(result).values()),
        whole_names=words.whole_names(_by_key(result).values()),
        models=[_model(name, result) for name in _models(result)],
        across=_across(result),
        paper=paper_rows(p for p in result["pairs"] if p["agreement"] is not None),
        paper_lead=PAPER,
        claims=times.CLAIMS,
        cell_validity=times.cell_validity,
        levels=_levels(result),
        levels_lead=levels.LEAD,
        conversions=model_views(result),
        conversions_lead=LEAD,
        conversions_square=SQUARE,
        environments=environments,
        spec=yaml.safe_dump(spec, sort_keys=False, allow_unicode=True) if spec else "",
        words=words,
        made_by=_made_by(),
        upgrade=_upgrade(result),
        named_store=_named_store(store),
    )


def _breakable(name: str) -> Markup:
    """A name that a browser may break where a path or a reference has its joints."""
    # `>` is escaped to `&gt;`: a route may be broken after it, too.
    return Markup(re.sub("([/:@]|&gt;)", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped first


def _made_by() -> str:
    try:
        return f"harness {version('deltann-harness')}"
    except PackageNotFoundError:
        return "harness"


def _models(result: Document) -> list[str]:
    return list(dict.fromkeys(str(cell["model"]) for cell in result["cells"]))


def _by_key(result: Document) -> dict[str, Document]:
    return {cell["key"]: cell for cell in (*result["cells"], *result["controls"])}


def _model(name: str, result: Document) -> Document:
    """Everything that the page says of one model."""
    cells = _by_key(result)
    own = [cell for cell in result["cells"] if str(cell["model"]) == name]
    keys = {cell["key"] for cell in own}
    inside = [p for p in result["pairs"] if {p["a"], p["b"]} <= keys]
    judged = [p for p in inside if p["agreement"] is not None]
    noise = [p for p in result["noise"] if p["a"] in keys]
    compared = [*judged, *noise]
    ratios = charts.ratio_scale(
        p[side] for p in compared for side in ("time_ratio", "time_low", "time_high")
    )
    shares = charts.share_scale(p["flip_high"] for p in compared)
    reference = cells[compared[0]["a"]] if compared else None
    changed = sum(bool(p["flipped"]) for p in judged)
    shown = max(_FLIPS_AT_LEAST, FLIPS_SHOWN * _PAIRS_WHOLE // max(_PAIRS_WHOLE, changed))
    return {
        "name": name,
        "cells": own,
        "answered": sum(cell["path"] is not None for cell in own),
        "labelled": any(cell["top1"] is not None for cell in own),
        "timed": any(p["time_ratio"] is not None for p in compared),
        "reference": reference,
        "rows": [_row(p, cells, ratios, shares) for p in compared],
        "ticks": ratios.ticks,
        "invalid": _invalid(name, result),
        "unjudged": times.unjudged_in_words(own),
        "throughput": throughput(own, judged),
        "parts": parts(own),
        "matrix": _matrix(own, inside),
        "flips": [_flips(p, shown) for p in judged if p["flipped"]],
        "too_many": len(own) > _SQUARE_CELLS,
    }


def _invalid(model: str, result: Document) -> list[str]:
    cells = _by_key(result)
    own = {key: cell for key, cell in cells.items() if str(cell["model"]) == model}
    shown = [p for p in result["pairs"] if p["agreement"] is not None and p["b"] in own]
    return times.invalid_in_words(own.values(), words.whole_names(cells.values()), shown)


def _row(
    pair: Document,
    cells: dict[str, Document],
    ratios: charts.RatioScale,
    shares: charts.ShareScale,
) -> Document:
    """A comparison with the reference: texts, and places on the two small charts."""
    a, b = cells[pair["a"]], cells[pair["b"]]
    time = flips = None
    if pair["time_ratio"] is not None:
        low, high = pair["time_low"] or pair["time_ratio"], pair["time_high"] or pair["time_ratio"]
        verdict = pair["time_verdict"]
        time = {
            "at": ratios.at(pair["time_ratio"]),
            "low": ratios.at(low),
            "high": ratios.at(high),
            "one": ratios.at(1.0),
            "ticks": ratios.ticks,
            "words": times.said(verdict),
            "state": times.state(verdict),
            "floor": times.floor(verdict),
            "valid": verdict["valid"],
            "validity": times.validity(verdict["valid"], verdict["reasons"]),
            "notes": [note for note in verdict["notes"] if note != NOT_JUDGED],
        }
    if pair["flips"] is not None:
        flips = {
            "at": shares.at(pair["flip_share"]),
            "low": shares.at(pair["flip_low"]),
            "high": shares.at(pair["flip_high"]),
        }
    return {
        "pair": pair,
        "measured": pair["agreement"],
        "noise": b["role"] == "control",
        "cell": b,
        "reference": a,
        "flips": flips,
        "time": time,
    }


def _matrix(cells: Sequence[Document], pairs: Sequence[Document]) -> Document | None:
    """Flips of every two cells as a square; None for fewer than three, or more than can be read."""
    counted = [p for p in pairs if p["flips"] is not None]
    keys = [c["key"] for c in cells if any(c["key"] in {p["a"], p["b"]} for p in counted)]
    if not 3 <= len(keys) <= _SQUARE_CELLS:
        return None
    most = max(p["flip_share"] for p in counted)
    found = {frozenset((p["a"], p["b"])): p for p in counted}
    named = {c["key"]: c for c in cells}
    rows = []
    for a in keys:
        row = []
        for b in keys:
            pair = found.get(frozenset((a, b)))
            heat = charts.heat(pair["flip_share"], most) if pair else 0
            row.append({"pair": pair, "heat": heat, "self": a == b})
        rows.append({"cell": named[a], "fields": row})
    return {"cells": [named[key] for key in keys], "rows": rows}


def _flips(pair: Document, most: int) -> Document:
    shown = [
        {
            **flip,
            **{f"{side}_words": words.class_name(flip, side) for side in ("label", "a", "b")},
            "effect": _effect(flip),
        }
        for flip in pair["flipped"][:most]
    ]
    return {
        "pair": pair,
        "shown": shown,
        "more": pair["flips"] - len(shown),
        "labelled": any(flip["label"] is not None for flip in shown),
    }


def _effect(flip: Document) -> str:
    if flip["label"] is None:
        return ""
    if flip["a"] == flip["label"]:
        return "broke"
    return "mended" if flip["b"] == flip["label"] else "both wrong"


def _levels(result: Document) -> dict[str, list[levels.LevelsView]]:
    """The groups of levels and settings by model."""
    found: dict[str, list[levels.LevelsView]] = {}
    for view in levels.levels_views(result):
        found.setdefault(view.model, []).append(view)
    return found


def _across(result: Document) -> list[Document]:
    """Pairs of different models that carry all measures (float against int8, for example)."""
    cells = _by_key(result)
    found = []
    for pair in result["pairs"]:
        a, b = cells[pair["a"]], cells[pair["b"]]
        if a["model"] != b["model"] and pair["agreement"] is not None:
            time = pair["time_verdict"]
            found.append(
                {
                    "pair": pair,
                    "a": a,
                    "b": b,
                    "measured": pair["agreement"],
                    "validity": times.validity(time["valid"], time["reasons"]),
                }
            )
    return found


def _upgrade(result: Document) -> str | None:
    """The sides of the comparison that turns this page's question into a gate.

    Two environments where there are two, else the first two cells of a model.
    """
    cells = _by_key(result)
    names = words.names(result["cells"])
    sides = [(cells[pair["a"]], cells[pair["b"]]) for pair in result["pairs"]]
    alike = [(a, b) for a, b in sides if a["model"] == b["model"]]
    apart = [(a, b) for a, b in alike if a["environment"] != b["environment"]]
    for a, b in apart or alike:
        first, second = names[a["key"]], names[b["key"]]
        if first != second:
            return f"--baseline {shlex.quote(first)} --candidate {shlex.quote(second)}"
    return None


def _named_store(store: Path) -> str:
    """The option that names a store which is not the usual one, with a space before it."""
    return "" if store == Path("results") else f" --store {shlex.quote(str(store))}"


def _environment(cell: Document, result: Document) -> Document:
    """What a cell really ran and its environment, flattened for showing; or why there is nothing."""
    if not cell["path"]:
        return {"cell": cell, "facts": _failed(cell, result), "packages": []}
    try:
        document = layout.read_document(Path(cell["path"]) / "environment.json")
        ran = layout.read_document(Path(cell["path"]) / "answers.json").get("ran")
    except StoreError as error:
        document, ran = {"problem": error.message}, None
    packages = document.pop("packages", None)
    document.pop("schema_version", None)
    return {
        "cell": cell,
        "facts": [*ran_facts(ran), *_facts(document)],
        "packages": sorted(packages.items()) if isinstance(packages, dict) else [],
    }


def ran_facts(ran: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What a backend said of itself once it ran; its operators in one line, the most first."""
    told = dict(ran or {})
    operators = told.pop("operators", None)
    yield from _facts({"ran": told})
    # It comes from inside an environment, which may say anything.
    counts = operators.items() if isinstance(operators, dict) else ()
    most = sorted((-count, str(kind)) for kind, count in counts if isinstance(count, int))
    if most:
        yield "operators", ", ".join(f"{-count} × {kind}" for count, kind in most)


def _failed(cell: Document, result: Document) -> list[tuple[str, str]]:
    """What is known of a cell without answers: where it was to run, and what became of it."""
    place = {
        "environment": cell["environment"],
        "stack": " ".join(str(cell[n]) for n in ("stack", "version") if cell[n]) or None,
        "executor": cell["executor"],
        "device": cell["device_name"] or cell["device"],
    }
    said = [
        (str(failure["kind"]), str(failure["message"]))
        for failure in result["failures"]
        if failure["key"] == cell["key"]
    ]
    return [*_facts(place), *(said or [("answers", "missing or damaged")])]


def _facts(value: Document, prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for name, entry in value.items():
        if isinstance(entry, dict):
            facts += _facts(entry, f"{prefix}{name} · ")
        elif isinstance(entry, list):
            text = ", ".join(map(str, entry)) if len(entry) <= _LISTED else f"{len(entry)} entries"
            facts.append((f"{prefix}{name}", text or words.NOTHING))
        elif entry is not None:
            facts.append((f"{prefix}{name}", str(entry)))
    return facts
