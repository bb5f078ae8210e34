"""`harness doctor`: what this machine has, what is wrong with it, and what `auto` will choose."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness.errors import EXIT_NOTHING_RAN

if TYPE_CHECKING:
    from harness.doctor.checks import Check
    from harness.doctor.report import Report

_WIDTH = 100
_STYLES = {"ok": "green", "info": "dim", "warning": "yellow", "failed": "bold red"}


def command(
    store: Annotated[
        Path, typer.Option("--store", help="The results folder.", show_default=True)
    ] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Look at this machine: engine, GPUs, cores, memory, disk; and what `auto` will choose.

    Nothing is changed. Exit status 4 where no executor can run cells.
    """
    from harness.doctor.facts import gather
    from harness.doctor.machine import describe_machine
    from harness.doctor.report import examine

    facts = gather(store)
    report = examine(facts)
    if as_json:
        typer.echo(json.dumps(report.document(facts, describe_machine()), ensure_ascii=False))
    else:
        _print(report, Console())
    if not report.runnable:
        raise typer.Exit(EXIT_NOTHING_RAN)


def _print(report: Report, console: Console) -> None:
    width = min(console.width, _WIDTH) if console.is_terminal else _WIDTH
    status_width = max(len(check.status) for check in report.checks)
    name_width = max(len(check.name) for check in report.checks)
    for check in report.checks:
        _print_check(check, console, status_width, name_width, width)
    console.print()
    console.print(_verdict(report), soft_wrap=True)


def _print_check(
    check: Check, console: Console, status_width: int, name_width: int, width: int
) -> None:
    indent = status_width + name_width + 4
    first, *rest = textwrap.wrap(
        check.finding, max(width - indent, 30), break_long_words=False, break_on_hyphens=False
    ) or [""]
    line = Text(f"{check.status:<{status_width}}", style=_STYLES[check.status])
    line.append(f"  {check.name:<{name_width}}  ", style="default not dim not bold")
    line.append(first, style="default not bold" if check.status != "info" else "dim not bold")
    console.print(line, soft_wrap=True)
    for more in rest:
        console.print(Text(" " * indent + more), soft_wrap=True)
    if check.remedy:
        # Never folded by us: what a terminal folds can still be copied as one line.
        console.print(Text(f"{' ' * indent}→ {check.remedy}", style="cyan"), soft_wrap=True)


def _verdict(report: Report) -> Text:
    failed, warnings = report.count("failed"), report.count("warning")
    if not report.runnable:
        return Text("Nothing can run here: mend a failed line.", style="bold red")
    found = [
        f"{number} {word}{'s' * (number != 1)}"
        for number, word in ((failed, "failure"), (warnings, "warning"))
        if number
    ]
    words = f"--executor auto takes {report.executor}"
    return Text(
        f"{words}; {' and '.join(found)} above." if found else f"{words}.",
        style="bold yellow" if failed else "bold green",
    )
