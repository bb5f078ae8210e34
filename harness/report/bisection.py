"""A bisection, of passes or of operators, in the terminal and as Markdown for a bug report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.plan.cells import shown

Document = Mapping[str, Any]

_VERDICTS = {"shows": "red", "absent": "green", "unresolved": "yellow"}


def print_passes(found: Document, console: Console) -> None:
    """Print what `harness.studies.pass_study` found."""
    console.print(Text(f"To blame: {found['headline']}", style="bold"), soft_wrap=True)
    for line in _passes_in_words(found):
        console.print(Text(line), soft_wrap=True)
    told = _settings_in_words(found["smallest"])
    console.print(Text(f"Settings that show it: {told}"), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("trial", "shows it", "flips", "largest difference", "time", "cell"):
        table.add_column(name, justify="right" if name in {"flips", "time"} else "left")
    for row, verdict in _trial_rows(found):
        table.add_row(
            Text(row[0]), Text(row[1], style=_VERDICTS[verdict]), *(Text(cell) for cell in row[2:])
        )
    console.print(table)
    for note in found["notes"]:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def passes_as_markdown(found: Document) -> str:
    """The same for an issue: what is to blame, between what, and every trial."""
    rows = [
        "| trial | shows it | flips | largest difference | time | cell |",
        "|---|---|---:|---:|---:|---|",
        *(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row, _ in _trial_rows(found)),
    ]
    notes = [f"> {note}" for note in found["notes"]]
    return "\n".join(
        [
            f"# To blame: {_escaped(found['headline'])}",
            "",
            *(_escaped(line) for line in _passes_in_words(found)),
            "",
            "Settings that show it:",
            "",
            "```json",
            json.dumps(found["smallest"], ensure_ascii=False, indent=2),
            "```",
            "",
            *rows,
            *(["", *notes] if notes else []),
            "",
        ]
    )


def print_operators(found: Document, console: Console) -> None:
    """Print what `harness.studies.operator_study` found."""
    console.print(Text(f"To blame: {found['headline']}", style="bold"), soft_wrap=True)
    for line in _operators_in_words(found):
        console.print(Text(line), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("part", "operators", "relative difference", "shows it"):
        table.add_column(name, justify="left" if name in {"part", "shows it"} else "right")
    for row, shows in _part_rows(found):
        style = "red" if shows else "green"
        table.add_row(*(Text(cell) for cell in row[:3]), Text(row[3], style=style))
    console.print(table)
    for note in found["notes"]:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    reproducer = found["reproducer"]
    console.print(Text.assemble("Reproducer: ", (reproducer["path"], "bold")), soft_wrap=True)
    line, style = _verified(reproducer)
    console.print(Text(line, style=style), soft_wrap=True)


def operators_as_markdown(found: Document) -> str:
    """The same for an issue."""
    rows = [
        "| part | operators | relative difference | shows it |",
        "|---|---:|---:|---|",
        *(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row, _ in _part_rows(found)),
    ]
    notes = [f"> {_escaped(note)}" for note in found["notes"]]
    return "\n".join(
        [
            f"# To blame: {_escaped(found['headline'])}",
            "",
            *(_escaped(line) for line in _operators_in_words(found)),
            "",
            *rows,
            "",
            *([*notes, ""] if notes else []),
            _escaped(_verified(found["reproducer"])[0]),
            "",
        ]
    )


def _operators_in_words(found: Document) -> list[str]:
    a, b = found["a"], found["b"]
    frozen = len(found["frozen"])
    lines = [
        f"{found['model']}, image {found['image']}: {a['label']} to {b['label']}.",
        f"Looked for: {found['criterion']}.",
        f"Smallest part that shows it: from {found['start']} to {found['end']}, "
        f"{len(found['operators'])} of {found['of']} operators.",
    ]
    if frozen:
        what = "tensor holds" if frozen == 1 else "tensors hold"
        lines.append(f"{frozen} other {what} what the model computes there, as constants.")
    return lines


def _part_rows(found: Document) -> Iterable[tuple[list[str], bool]]:
    for trial in found["trials"]:
        apart = trial["difference"]
        told = apart if isinstance(apart, str) else _number(apart, ".3g")
        shows = "yes" if trial["shows"] else "no"
        note = f" ({trial['note'][:100]})" if trial["note"] else ""
        yield (
            [trial["label"], str(trial["operators"]), told, f"{shows}{note}"],
            bool(trial["shows"]),
        )


def _verified(reproducer: Document) -> tuple[str, str]:
    if reproducer["verified"]:
        apart = reproducer.get("difference")
        told = f": they differ by {apart}" if apart else ""
        return f"Reproduced in fresh environments{told}.", "green"
    if reproducer["verified"] is False:
        return f"Not reproduced in fresh environments: {reproducer['reason']}.", "bold red"
    if reproducer.get("runs"):
        return f"Run in fresh environments, and undecided: {reproducer['reason']}.", "yellow"
    if reproducer["reason"]:
        return f"Not run anew: {reproducer['reason']}.", "yellow"
    return "Not run anew; --verify runs it in environments made for it alone.", "yellow"


def _passes_in_words(found: Document) -> list[str]:
    a, b, needed = found["a"], found["b"], found["needed"]
    lines = [
        f"{found['model']} on {found['environment']}, {found['backend']}: {a['label']} to "
        f"{b['label']}, {_counted(len(found['changes']), 'change')} of settings.",
        f"Looked for: {found['criterion']}.",
        f"Smallest set that shows it: {', '.join(found['guilty'])}.",
    ]
    if needed and needed["passes"]:
        lines.append(
            f"With it, of {needed['of']} passes only {', '.join(needed['passes'])} has to run."
        )
    elif needed and needed["reason"]:
        lines.append(f"No pass was singled out behind it: {needed['reason']}.")
    if found["without"]:
        lines.append(
            {
                "absent": "B without it does not show it: this is the cause.",
                "shows": "B without it still shows it: there is another cause.",
                "unresolved": "Whether B shows it without could not be told.",
            }[found["without"]]
        )
    return lines


def _settings_in_words(settings: Document) -> str:
    return ", ".join(f"{name}={shown(value)}" for name, value in settings.items()) or "none"


def _trial_rows(found: Document) -> Iterable[tuple[list[str], str]]:
    for trial in found["trials"]:
        ratio = trial.get("time_ratio")
        told = trial["message"] and f"{trial['kind'] or trial['status']}: {trial['message']}"
        yield (
            [
                trial["label"],
                trial["verdict"] + (f" ({told[:80]})" if told else ""),
                _number(trial.get("flips"), "d"),
                _number(trial.get("max_abs_diff"), ".3g"),
                "" if ratio is None else f"{ratio:.3f} × {_interval(trial)}",
                trial["key"][:12],
            ],
            trial["verdict"],
        )


def _interval(trial: Document) -> str:
    low, high = trial.get("time_low"), trial.get("time_high")
    return "" if low is None or high is None else f"({low:.3f} to {high:.3f})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
