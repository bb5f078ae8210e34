"""A sweep as Markdown: one table, to be pasted into an issue, a pull request or a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report import budget, suspicions, times, words
from harness.report.conversions import SQUARE, ModelView, model_views
from harness.report.levels import LEAD, levels_markdown, levels_views
from harness.report.tabular import markdown_table as _table
from harness.report.tabular import markdown_text as _text
from harness.report.time_views import PAPER, paper_rows, throughput
from harness.report.verdict import verdict

FLIPS_SHOWN = 50

Document = dict[str, Any]

_HEADS = (
    *("environment", "backend", "route", "top-1", "top-5", "flips", "largest difference"),
    *("p50", "time", "95 % interval", "floor", "verdict", "timing"),
)


def as_markdown(result: Document) -> str:
    """The verdict, a table of cells for each model, its conversions, flips, and what failed.

    Flips, differences and times are against the model's reference, the row that says so.

    Args:
        result: what `harness.analysis.sweep_result` returns.
    """
    found = verdict(result)
    parts = [f"**{_text(found.headline)}**"]
    if found.detail:
        parts.append(_text(found.detail))
    if cut := budget.sentence(result):
        parts.append(_text(cut))
    models = list(dict.fromkeys(str(cell["model"]) for cell in result["cells"]))
    for model in models:
        cells = [cell for cell in result["cells"] if cell["model"] == model]
        if len(models) > 1:
            parts.append(f"### {_text(model)}")
        parts.append(_cells(cells, result))
        if offline := _throughput(cells, result):
            parts.append(offline)
    if invalid := _invalid(result):
        parts.append(invalid)
    parts += _levels(result)
    parts += [_conversions(view) for view in model_views(result)]
    parts += [part for part in (_paper(result), _flips(result)) if part]
    names = words.whole_names(result["cells"])
    if suspected := suspicions.markdown(result.get("suspicions") or [], names):
        parts.append("\n".join(suspected).rstrip())
    if failed := _failures(result):
        parts.append(failed)
    return "\n\n".join(parts) + "\n"


def _cells(cells: Sequence[Document], result: Document) -> str:
    against = _against_reference(result)
    references = {pair["a"] for pair in against.values()}
    several = len({(cell["executor"], cell["device"]) for cell in cells}) > 1
    rows = []
    for cell in cells:
        pair = against.get(cell["key"])
        place = str(cell["environment"])
        if several:
            place += f", {cell['executor']}, {cell['device']}"
        row = [place, words.backend(cell), str(cell.get("route") or words.NOTHING)]
        row += [words.share(cell["top1"]), words.share(cell["top5"])]
        if cell["status"] == "failed":
            row += ["failed", words.NOTHING]
        elif pair is None:
            row += ["reference" if cell["key"] in references else words.NOTHING, words.NOTHING]
        else:
            row += [words.count(pair["flips"]), _largest(pair)]
        row.append(words.duration(cell["latency_p50_ns"]))
        row.append(words.ratio(pair["time_ratio"]) if pair else words.NOTHING)
        row.append(words.interval(pair["time_low"], pair["time_high"]) if pair else words.NOTHING)
        row.append(times.floor(pair["time_verdict"]) if pair else words.NOTHING)
        row.append(times.short(pair["time_verdict"]) if pair else words.NOTHING)
        row.append(times.cell_validity(cell))
        rows.append(row)
    return _table(_HEADS, rows, left=3)


def _largest(pair: Document) -> str:
    return "inert: same compiled form" if pair["inert"] else words.largest(pair)


def _throughput(cells: Sequence[Document], result: Document) -> str:
    """A row for each cell that was timed offline; empty without any."""
    names = words.names(result["cells"])
    rows = [
        [
            *(names[row.key], row.batch, row.per_second, row.ratio, row.interval),
            *(row.floor, row.verdict, row.validity),
        ]
        for row in throughput(cells, _against_reference(result).values())
    ]
    heads = ("offline", "batch", "images/s", "time", "95 % interval", "floor", "verdict", "timing")
    return _table(heads, rows, left=1) if rows else ""


def _invalid(result: Document) -> str:
    cells = [*result["cells"], *result["controls"]]
    pairs = _against_reference(result).values()
    lines = times.invalid_in_words(cells, words.whole_names(cells), pairs)
    return "\n".join(f"- INVALID time of {_text(line)}" for line in lines)


def _paper(result: Document) -> str:
    """Times as the paper gives them; empty where nothing was timed side by side."""
    names = words.whole_names(result["cells"])
    rows = [
        [names[row.key], *row.percentages, row.mann_whitney, row.a12, row.anova, row.validity]
        for row in paper_rows(_against_reference(result).values())
    ]
    if not rows:
        return ""
    divided = ("time %, of the reference", "time %, of the slower one")
    table = _table(("cell", *divided, "Mann-Whitney p", "A12", "ANOVA p", "timing"), rows, left=1)
    return f"### Times as the paper gives them\n\n{_text(PAPER)}\n\n{table}"


def _against_reference(result: Document) -> dict[str, Document]:
    """The pairs with all measures, by the key of the cell that is not the reference."""
    return {str(p["b"]): p for p in result["pairs"] if p["agreement"] is not None}


def _flips(result: Document) -> str:
    """Each label that changed, with how sure the reference was and how far scores moved."""
    named = {cell["key"]: cell for cell in result["cells"]}
    called = words.whole_names(result["cells"])
    rows = []
    for key, pair in _against_reference(result).items():
        if key not in named:
            continue
        for flip in pair["flipped"] or ():
            margin = flip["margin_a"]
            rows.append(
                [
                    called[key],
                    str(flip["name"] or flip["image"]),
                    words.class_name(flip, "label"),
                    words.class_name(flip, "a"),
                    words.class_name(flip, "b"),
                    words.NOTHING if margin is None else f"{margin:.2g}",
                    words.largest(pair),
                ]
            )
    if not rows:
        return ""
    more = f"\n\n… and {len(rows) - FLIPS_SHOWN} more." if len(rows) > FLIPS_SHOWN else ""
    heads = ("cell", "image", "truth", "reference", "here", "its margin", "largest difference")
    return _table(heads, rows[:FLIPS_SHOWN], left=5) + more


def _conversions(view: ModelView) -> str:
    """A row a route, and the paper's twelve where the sweep has such chains."""
    heads = ("route", "result", "step by step", "flips", "top-1", "compared with")
    rows = [
        [
            ", ".join([row.route, *row.asked]),
            "works" if row.works else f"failed: {row.reason}",
            "; ".join(f"{step.name}: {step.said}" for step in row.steps),
            f"{row.flips} ({row.share})" if row.share else row.flips,
            row.top1,
            row.against or words.NOTHING,
        ]
        for row in view.rows
    ]
    parts = [f"### Conversions of {_text(view.name)}", _table(heads, rows, left=3)]
    blamed = [row for row in view.rows if row.blame and row.works]
    if blamed:
        parts.append("\n".join(f"- {_text(f'{row.name}: {row.blame}')}" for row in blamed))
    if view.square:
        square = [
            [start, *(f"{one.said} {one.more}".strip() for one in fields)]
            for start, fields in view.square
        ]
        parts.append(f"{SQUARE}, labels changed from row to column:")
        parts.append(_table(("from", *(start for start, _ in view.square)), square, left=1))
        parts.append(_text(" ".join(view.findings)))
    return "\n\n".join(parts)


def _levels(result: Document) -> list[str]:
    """A table for each backend that was run at several levels or with several settings."""
    views = levels_views(result)
    if not views:
        return []
    several = len({view.model for view in views}) > 1
    parts = ["### Levels and settings", _text(LEAD)]
    for view in views:
        heads, rows = levels_markdown(view)
        title = f"{view.model} \u00b7 {view.place}" if several else view.place
        parts += [f"**{_text(title)}**", _table(heads, rows, left=3)]
        parts += [_text(view.note)] if view.note else []
    return parts


def _failures(result: Document) -> str:
    called = words.whole_names([*result["cells"], *result["controls"]])
    lines = [
        f"- failed: {called.get(one['key'], one['key'][:8])} ({one['kind']}): {one['message']}"
        for one in result["failures"]
    ]
    lines += [f"- skipped: {words.skipped(one)}" for one in result["skipped"]]
    lines += [
        f"- problem: {called.get(one['key'], one['key'][:8])}: {one['message']}"
        for one in result.get("problems", [])
    ]
    return "\n".join(f"- {_text(line[2:])}" for line in lines)
