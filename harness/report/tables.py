"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.plan.levels import OWN
from harness.report import budget, suspicions, times, words
from harness.report.conversions import print_conversions
from harness.report.levels import print_levels
from harness.report.tabular import terminal_table as _table
from harness.report.time_views import throughput
from harness.report.verdict import verdict

FLIPS_SHOWN = 20
_PIPED_WIDTH = 1000
# From this width on, the backend and two more percentiles have a column too.
_ROOMY = 100
_READABLE = 140
_LONGEST = 60

Document = dict[str, Any]


def standard_output() -> Console:
    """The console of standard output; what is piped is not folded to a terminal's width."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)


def print_sweep(result: Document, console: Console) -> None:
    """Print a sweep's verdict, its cells, what changed, what conversions did, and failures.

    Args:
        result: what `harness.analysis.sweep_result` returns.
        console: where to.
    """
    found = verdict(result)
    console.print(Text(found.headline, style=f"bold {_STYLES[found.state]}".rstrip()))
    if found.detail:
        console.print(Text(found.detail, style="dim"))
    if cut := budget.sentence(result):
        console.print(Text(cut))
    console.print()
    _print_cells(result, console)
    _print_pairs(result, console)
    _print_throughput(result, console)
    _print_invalid(result, console)
    print_levels(result, console, _table)
    print_conversions(result, console, _table)
    _print_suspicions(result, console)
    _print_failures(result, console)
    _print_excluded(result, console)


_STYLES = {"same": "green", "differs": "yellow", "unknown": "red", "alone": ""}


def _print_cells(result: Document, console: Console) -> None:
    cells = result["cells"]
    names = words.names(cells)
    roomy = console.width >= _ROOMY
    heads = ["cell", "environment", *(["backend"] if roomy else []), "top-1", "top-5", "images"]
    heads += ["p50", *(["p95", "p99"] if roomy else []), "timing", "status"]
    for model, group in _by_model(cells).items():
        table = _table(
            f"Cells · {model}", *heads, left=("cell", "environment", "backend", "timing", "status")
        )
        for cell in group:
            row = [cell["key"][:8], names[cell["key"]]]
            row += [words.backend(cell)] if roomy else []
            row += [words.share(cell["top1"]), words.share(cell["top5"])]
            row += [words.count(cell["images"]), words.duration(cell["latency_p50_ns"])]
            row += [words.duration(cell[f"latency_{p}_ns"]) for p in ("p95", "p99") if roomy]
            row += [times.cell_validity(cell)]
            style = "red" if cell["status"] == "failed" else None
            table.add_row(*(Text(text) for text in [*row, str(cell["status"])]), style=style)
        console.print(table)


def _print_suspicions(result: Document, console: Console) -> None:
    found = suspicions.table(result.get("suspicions") or [], words.names(result["cells"]))
    if found is not None:
        # Sentences: on a pipe they would run over a thousand columns.
        console.print(found, width=min(console.width, _READABLE))


def _by_model(cells: Sequence[Document]) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = {}
    for cell in cells:
        groups.setdefault(str(cell["model"]), []).append(cell)
    return groups


def _print_pairs(result: Document, console: Console) -> None:
    """A table for each reference: what the others differ by from it, and its noise floor."""
    cells = {cell["key"]: cell for cell in [*result["cells"], *result["controls"]]}
    names = words.names(cells.values())
    several = len({cell["model"] for cell in result["cells"]}) > 1
    roomy = console.width >= _ROOMY
    shown = [pair for pair in result["pairs"] if pair["agreement"] is not None]
    by_reference: dict[str, list[Document]] = {}
    for pair in [*shown, *result.get("noise", [])]:
        by_reference.setdefault(str(pair["a"]), []).append(pair)
    for key, pairs in by_reference.items():
        reference = cells[key]
        of_model = f" · {reference['model']}" if several else ""
        table = _table(
            f"Against {names[key]}{of_model}",
            *("compared", "flips", "%", "largest diff", "time", "95 % interval"),
            *(["floor"] if roomy else []),
            "verdict",
            left=("compared", "verdict"),
        )
        for pair in pairs:
            _add_pair(table, pair, reference, cells[pair["b"]], names, roomy=roomy)
        console.print(table)
    if by_reference:
        console.print(
            Text(
                "flips: images whose label changed; time: theirs as a multiple of the reference's; "
                f"{'floor: smaller differences are noise; ' * roomy}"
                "none seen (2 %): no difference that this measurement can see, the smallest it could "
                "being 2 %",
                style="dim",
            )
        )


def _print_throughput(result: Document, console: Console) -> None:
    names = words.names(result["cells"])
    pairs = [pair for pair in result["pairs"] if pair["agreement"] is not None]
    for model, cells in _by_model(result["cells"]).items():
        rows = throughput(cells, pairs)
        if not rows:
            continue
        roomy = console.width >= _ROOMY
        heads = ["cell", "batch", "images/s", "time", "95 % interval"]
        heads += [*(["floor"] if roomy else []), "verdict", "timing"]
        table = _table(f"Offline · {model}", *heads, left=("cell", "verdict", "timing"))
        for row in rows:
            texts = [names[row.key], row.batch, row.per_second, row.ratio, row.interval]
            texts += [row.floor] if roomy else []
            table.add_row(*(Text(text) for text in [*texts, row.verdict, row.validity]))
        console.print(table)


def _print_invalid(result: Document, console: Console) -> None:
    cells = [*result["cells"], *result["controls"]]
    shown = [pair for pair in result["pairs"] if pair["agreement"] is not None]
    for line in times.invalid_in_words(cells, words.whole_names(cells), shown):
        console.print(Text(f"INVALID time of {line}", style="red"), soft_wrap=True)


def _add_pair(
    table: Table,
    pair: Document,
    reference: Document,
    other: Document,
    names: dict[str, str],
    *,
    roomy: bool,
) -> None:
    control = other["role"] == "control"
    name = names[other["key"]]
    if other["model"] != reference["model"]:
        name = f"{other['model']} · {name}"
    table.add_row(
        Text("itself (A/A control)" if control else name),
        Text(words.count(pair["flips"]), style="bold yellow" if pair["flips"] else ""),
        Text(words.percent(pair["flip_share"])),
        Text("inert" if pair["inert"] else words.largest(pair)),
        Text(words.ratio(pair["time_ratio"])),
        Text(words.interval(pair["time_low"], pair["time_high"])),
        *([Text(times.floor(pair["time_verdict"]))] if roomy else []),
        Text(times.short(pair["time_verdict"])),
        style="dim" if control else None,
    )


def _print_failures(result: Document, console: Console) -> None:
    called = words.whole_names([*result["cells"], *result["controls"]])
    for failure in result["failures"]:
        what = f"{failure['key'][:8]} {called.get(failure['key'], '')}".rstrip()
        line = f"failed {what} ({failure['kind']}): {failure['message']}"
        console.print(Text(line, style="red"), soft_wrap=True)
    for skipped in result["skipped"]:
        console.print(Text(f"skipped {words.skipped(skipped)}", style="yellow"))
    for problem in result.get("problems", []):
        what = f"{problem['key'][:8]} {called.get(problem['key'], '')}".rstrip()
        line = f"problem {what}: {problem['message']}"
        console.print(Text(line, style="red"), soft_wrap=True)


def _print_excluded(result: Document, console: Console) -> None:
    excluded = result["excluded"]
    for image in excluded[:FLIPS_SHOWN]:
        console.print(Text(f"left out {image['name']}: {image['reason']}", style="yellow"))
    if len(excluded) > FLIPS_SHOWN:
        more = words.plural(len(excluded) - FLIPS_SHOWN, "more image")
        console.print(Text(f"… and {more} left out"))


def print_status(status: Document, console: Console) -> None:
    """Print what `harness.analysis.store_status` found; of what studies tried only how much it is."""
    sizes = status["size_bytes"]
    console.print(
        Text(
            f"{status['store']}: {words.plural(status['cells'], 'cell')}, "
            f"{words.plural(status['controls'], 'control')}, "
            f"{words.plural(status['sessions'], 'timing session')}, "
            f"{words.plural(len(status['failures']), 'cell')} failed, "
            f"{words.size(sum(sizes.values()))}",
            style="bold",
        ),
        soft_wrap=True,
    )
    _print_sweeps(status["sweeps_listed"], console)
    _print_studies(status["studies_listed"], console)
    left = ("cell", "model", "environment", "backend", "level", "settings", "role")
    heads = (*left[:-1], "images", "top-1", "top-5")
    table = _table("Cells with answers", *heads, left=left)
    names = _places(status)
    listed = [cell for cell in status["cells_listed"] if not cell["study"]]
    failures = [failure for failure in status["failures"] if not failure["study"]]
    for cell in listed:
        control = cell["role"] == "control"
        row = [cell["key"][:8], cell["model"], names[cell["key"]], cell["backend"]]
        level = "" if cell["level"] == OWN else cell["level"]
        row += [level, words.reason(cell["settings"], _LONGEST), words.count(cell["images"])]
        row += [words.share(cell["top1"]), words.share(cell["top5"])]
        table.add_row(*(Text(str(text)) for text in row), style="dim" if control else None)
    if listed:
        console.print(table)
    for failure in failures:
        what = f"{failure['model']} · {names[failure['key']]} · {failure['backend']}"
        what += f" · {failure['settings']}" if failure["settings"] else ""
        line = f"failed {failure['key'][:8]} {what} ({failure['kind']}): {failure['message']}"
        console.print(Text(line, style="red"), soft_wrap=True)
    left_out = [
        words.plural(number, what)
        for number, what in (
            (len(status["cells_listed"]) - len(listed), "answered cell"),
            (len(status["failures"]) - len(failures), "failure"),
        )
        if number
    ]
    if left_out:
        said = (
            f"Not listed, as only studies tried them: {' and '.join(left_out)} (--json lists all)."
        )
        console.print(Text(said, style="dim"), soft_wrap=True)
    for problem in status["problems"]:
        line = f"damaged {problem['path']}: {problem['message']}"
        console.print(Text(line, style="red"), soft_wrap=True)


def _places(status: Document) -> dict[str, str]:
    """Names by key that tell rows apart beside their columns for backend and settings."""
    failed = [{**failure, "role": "cell"} for failure in status["failures"]]
    shown = {"backend", "level", "settings"}
    return words.names(
        {name: value for name, value in row.items() if name not in shown}
        for row in (*status["cells_listed"], *failed)
    )


def _print_studies(studies: Sequence[Document], console: Console) -> None:
    if not studies:
        return
    heads = ("study", "of", "found")
    table = _table("Studies", *heads, left=heads)
    for study in studies:
        place = " · ".join(str(study[name]) for name in ("model", "environment", "backend"))
        row = [study["id"], place, study["headline"]]
        style = None if study["complete"] else "yellow"
        table.add_row(*(Text(str(text)) for text in row), style=style)
    console.print(table)


def _print_sweeps(sweeps: Sequence[Document], console: Console) -> None:
    if not sweeps:
        return
    heads = ("sweep", "created", "cells", "done", "resumed", "failed")
    table = _table("Sweeps", *heads, left=("sweep", "created"))
    for sweep in sweeps:
        row = [f"{sweep['id']}{', of a study' * sweep['study']}", sweep["created"]]
        row += [words.count(sweep[name]) for name in ("cells", "done", "resumed", "failed")]
        table.add_row(*(Text(str(text)) for text in row))
    console.print(table)
