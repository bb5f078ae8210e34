"""A comparison in the terminal: the verdict, the measures, the flips image by image."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.time_verdict import NOT_JUDGED
from harness.report import times, words
from harness.report.levels import moved
from harness.report.verdict import comparison_verdict
from harness.store.cell_routes import AXES
from harness.store.compiled import level_of
from harness.store.naming import settings_text
from harness.store.sessions import SINGLE_STREAM

FLIPS_SHOWN = 20

Document = dict[str, Any]

_STYLES = {"same": "green", "differs": "yellow", "unknown": "red"}


def print_comparison(found: Document, console: Console) -> None:
    """Print what `harness.analysis.comparison.compare_cells` found.

    The first line is the verdict; with rules it says whether they allow the change.
    """
    said = comparison_verdict(found)
    style = "red" if found["allowed"] is False else _STYLES[said.state]
    console.print(Text(said.headline, style=f"bold {style}"), soft_wrap=True)
    if said.detail:
        console.print(Text(said.detail, style="dim"), soft_wrap=True)
    cells = {cell["key"]: cell for cell in found["cells"]}
    names = words.names(found["cells"])
    for pair in found["pairs"]:
        _print_pair(pair, cells, names, console)
    for pair in found["unmeasured"][1:]:  # the headline says the first
        line = f"could not be measured: {pair['reason']}"
        console.print(Text(line, style="red"), soft_wrap=True)
    for key in found["candidate_only"]:
        line = f"not compared: {key[:12]} {names[key]} has no counterpart in the baseline"
        console.print(Text(line, style="yellow"), soft_wrap=True)
    for note in found["notes"]:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def _print_pair(
    pair: Document, cells: dict[str, Document], names: dict[str, str], console: Console
) -> None:
    a, b = cells[pair["a"]], cells[pair["b"]]
    console.print()
    model = a["model"] if a["model"] == b["model"] else f"{a['model']} to {b['model']}"
    title = f"{model}: {names[a['key']]} to {names[b['key']]}"
    console.print(Text(title, style="bold"), soft_wrap=True)
    axes = ", ".join(pair["axes"]) or "nothing (the same cell again)"
    keys = f"{a['key'][:12]} to {b['key'][:12]}, differing in: {axes}"
    console.print(Text(keys, style="dim"), soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    about = (*settings_in_words(pair, a, b), *conversions_in_words(pair, a, b))
    for name, value in (*about, *measures_in_words(pair), *compiled_in_words(pair, a, b)):
        table.add_row(Text(name), Text(value))
    console.print(table)
    for violation in pair["violations"]:
        _print_violation(violation, console)
    for one in pair["undecided"]:
        console.print(Text(f"cannot tell: {one['message']}", style="bold red"), soft_wrap=True)
    _print_flips(pair, console)
    for note in pair["agreement"]["notes"]:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def settings_in_words(pair: Document, a: Document, b: Document) -> list[tuple[str, str]]:
    """In which level and settings two cells differ, as (axis, from one to the other) lines."""
    lines = []
    if "level" in pair["axes"]:
        lines.append(("level", f"{level_of(a)} to {level_of(b)}"))
    if {"level", "settings"} & set(pair["axes"]) and a["backend"] == b["backend"]:
        told = [settings_text(c["settings"] or {}, whole=False) or "none" for c in (a, b)]
        lines.append(("settings", " to ".join(told)))
    return lines


def compiled_in_words(pair: Document, a: Document, b: Document) -> list[tuple[str, str]]:
    """What two cells of one model and backend were compiled to, as (name, value) lines."""
    ours, theirs = ((cell.get("compiled") or {}) for cell in (a, b))
    if pair["compiled"] is None or not (ours or theirs):
        return []
    if pair["compiled"] == "unknown":
        why = ours.get("absent") or theirs.get("absent") or "only one of them was asked for it"
        return [("compiled form", f"cannot be told: {words.not_shown(str(why))}")]
    if pair["compiled"] == "other":
        told = f"another: {_form(ours)} to {_form(theirs)}"
        changes = moved(ours["operators"], theirs["operators"])
        return [("compiled form", told), *([("", changes)] if changes else [])]
    if pair["inert"]:
        told = "what they differ in is inert: it changes nothing"
    elif pair["identical"]:
        told = "and the same answers"
    else:
        told = "with other answers: it is not deterministic"
    return [("compiled form", f"the same, {_form(ours)}; {told}")]


def _form(compiled: Document) -> str:
    return f"{compiled['form']} {compiled['sha256'][:10]}"


def conversions_in_words(pair: Document, a: Document, b: Document) -> list[tuple[str, str]]:
    """What two cells' conversions differ in, as (axis, from one to the other) lines."""
    lines = []
    if "route" in pair["axes"]:
        ours, theirs = (_route(cell) for cell in (a, b))
        same = ours == theirs
        lines.append(("route", f"{ours}, made otherwise" if same else f"{ours} to {theirs}"))
    for axis in AXES:
        if axis in pair["axes"]:
            ours, theirs = (words.spoken(cell, axis) for cell in (a, b))
            lines.append((axis, f"{ours} to {theirs}"))
    return lines


def _route(cell: Document) -> str:
    made = f" (made in {cell['converted_in']})" if cell.get("converted_in") else ""
    return f"{cell.get('route')}{made}"


def measures_in_words(pair: Document) -> list[tuple[str, str]]:
    """The measures of a pair as (name, value) lines; what has no value is left out."""
    m = pair["agreement"]
    lines: list[tuple[str, str]] = []
    if pair["flips"] is not None:
        changed = f"{words.count(pair['flips'])} of {words.count(pair['images'])}"
        reach = f"{words.percent(pair['flip_low'])} to {words.percent(pair['flip_high'])}"
        share = words.percent(pair["flip_share"])
        lines.append(("labels changed", f"{changed}, {share} (95 %: {reach})"))
    if m["top1_a"] is not None:
        moved = f"{words.count(m['broke'])} broke, {words.count(m['mended'])} mended"
        lines += [
            ("top-1", f"{words.share(m['top1_a'])} to {words.share(m['top1_b'])}"),
            ("top-5", f"{words.share(m['top5_a'])} to {words.share(m['top5_b'])}"),
            ("right answers", f"{moved} (McNemar p = {m['mcnemar_p']:.2g})"),
        ]
    if pair["identical"]:
        lines.append(("values", "equal bit for bit"))
    elif m["max_abs_diff"] is not None:
        largest, mean = words.difference(m["max_abs_diff"]), words.difference(m["mean_abs_diff"])
        lines.append(("values", f"largest difference {largest}, mean {mean}"))
        lines.append(("cosine", f"{m['cosine']:.6f}"))
    if m["jaccard"] is not None:
        agreed = f"Jaccard {m['jaccard']:.4f}, RBO {m['rbo']:.4f}, tau-b {m['tau']:.4f}"
        lines.append((f"top-{m['top']} lists", agreed))
    if m["kl"] is not None:
        lines.append(("KL", f"mean {m['kl']:.2g}, largest {m['kl_max']:.2g} nats"))
    if m["ties_a"] or m["ties_b"]:
        ties = f"{m['ties_a']} and {m['ties_b']} images with several best classes (lowest taken)"
        lines.append(("ties", ties))
    if len(m["outputs"]) > 1 or pair["flips"] is None:
        lines += [(f"output {o['name']}", _output(o)) for o in m["outputs"]]
    return [*lines, *_times(pair)]


def _times(pair: Document) -> list[tuple[str, str]]:
    lines = []
    for scenario, found in pair["time_scenarios"].items():
        verdict = found["verdict"]
        name = "time" if scenario == SINGLE_STREAM else f"time, {scenario}"
        reach = words.interval(found["low"], found["high"])
        rounds = words.plural(found["rounds"], "round")
        rounds += " in fresh processes" * bool(found.get("fresh_processes"))
        lines.append((name, f"{words.ratio(found['ratio'])} (95 %: {reach}; {rounds})"))
        lines.append(("", times.said(verdict)))
        lines.append(("", f"noise floor {times.floor(verdict)}"))
        if verdict["valid"] is not False:
            lines.append(("", times.validity(verdict["valid"], verdict["reasons"])))
        lines += [("", note) for note in verdict["notes"] if note != NOT_JUDGED]
    return lines or [("time", "not measured in one session")]


def _output(output: Document) -> str:
    if not output["comparable"]:
        return f"not comparable: {output['reason']}"
    if output["identical"]:
        return "equal bit for bit"
    return f"largest difference {words.difference(output['max_abs_diff'])}"


def _print_violation(violation: Document, console: Console) -> None:
    console.print(Text(f"not allowed: {violation['message']}", style="bold red"), soft_wrap=True)
    images = violation["images"]
    # Flipped images follow with their classes; the others are named here.
    if violation["metric"] == "flips":
        return
    for image in images[:FLIPS_SHOWN]:
        console.print(Text(f"  {image['name']}"), soft_wrap=True)
    if len(images) > FLIPS_SHOWN:
        console.print(Text(f"  … and {len(images) - FLIPS_SHOWN} more; --json lists all"))


def _print_flips(pair: Document, console: Console) -> None:
    flips = pair["flipped"]
    if not flips:
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("image", "label", "was", "is now"):
        table.add_column(name, overflow="fold")
    for name in ("margin", "margin now"):
        table.add_column(name, justify="right")
    for flip in flips[:FLIPS_SHOWN]:
        table.add_row(
            Text(flip["name"] or str(flip["image"])),
            Text(words.class_name(flip, "label")),
            Text(words.class_name(flip, "a"), style=_judged(flip, "a")),
            Text(words.class_name(flip, "b"), style=_judged(flip, "b")),
            Text(words.difference(flip["margin_a"])),
            Text(words.difference(flip["margin_b"])),
        )
    console.print(table)
    if len(flips) > FLIPS_SHOWN:
        console.print(Text(f"… and {len(flips) - FLIPS_SHOWN} more; --json lists all"))


def _judged(flip: Document, side: str) -> str:
    if flip["label"] is None:
        return ""
    return "green" if flip[side] == flip["label"] else "red"
