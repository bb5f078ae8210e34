"""`harness compare`: may I upgrade? Two cells or environments side by side, and the gate."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

_CELL = (
    "an environment, ENVIRONMENT/BACKEND, a cell as tables name it ('ENVIRONMENT, docker'), "
    "or the beginning of its key"
)


def command(
    a: Annotated[str | None, typer.Argument(metavar="A", help=f"The baseline: {_CELL}.")] = None,
    b: Annotated[str | None, typer.Argument(metavar="B", help="The candidate, likewise.")] = None,
    *,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="The same as A.", metavar="ENV")
    ] = None,
    candidate: Annotated[
        str | None, typer.Option("--candidate", help="The same as B.", metavar="ENV")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep", help="Only cells of this sweep (default: the newest that names A or B)."
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            help="A difference that is not allowed, as 'flips > 0.1%' or 'max_abs_diff > 1e-3'; "
            "exit 1 where it is found. May be repeated.",
            metavar="RULE",
        ),
    ] = None,
    store: Annotated[
        Path, typer.Option("--store", help="The results folder.", show_default=True)
    ] = Path("results"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: every measure and every flip.")
    ] = False,
) -> None:
    """Compare two environments or cells: verdict, measures, flips image by image.

    Ends with 3 where a cell to compare has failed and no --fail-on decides, or where a --fail-on
    about time cannot be told because that time is INVALID.

    Example: harness compare --baseline onnxruntime-1.17 --candidate onnxruntime-1.31
    --fail-on 'flips > 0.1%'
    """
    from harness.analysis import gate
    from harness.analysis.choice import choose
    from harness.analysis.comparison import compare_cells
    from harness.errors import EXIT_CELLS_FAILED, DifferencesError
    from harness.report.comparison import print_comparison
    from harness.report.tables import standard_output
    from harness.report.verdict import comparison_verdict

    first, second = _sides(a, b, baseline, candidate)
    rules = [gate.parse(text) for text in fail_on or []]
    choice = choose(store, first, second, model=model, sweep=sweep)
    found = compare_cells(store, choice, rules)
    said = comparison_verdict(found)
    if as_json:
        document = {"verdict": said.headline, "detail": said.detail, **found}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        print_comparison(found, standard_output())
    if found["allowed"] is False:
        raise DifferencesError("Differences beyond what --fail-on allows.")
    failed = any(cell["failure"] for cell in found["cells"])
    if found["allowed"] is None and (failed or found["undecided"]):
        raise typer.Exit(EXIT_CELLS_FAILED)


def _sides(
    a: str | None, b: str | None, baseline: str | None, candidate: str | None
) -> tuple[str, str]:
    from harness.errors import UsageError

    if a is not None and b is None and baseline is not None and candidate is None:
        a, b = None, a
    first, second = baseline or a, candidate or b
    doubled = (baseline and a) or (candidate and b)
    if first is None or second is None or doubled:
        raise UsageError(
            "Name a baseline and a candidate.",
            "harness compare A B, or harness compare --baseline A --candidate B; "
            "`harness status` lists what there is.",
        )
    return _named(first), _named(second)


def _named(selector: str) -> str:
    """A `package==version` as the environment is called in results: shipped ones have names."""
    from harness.environments.adhoc import is_pin
    from harness.environments.adopted import is_adopted
    from harness.environments.registry import name_of

    if is_adopted(selector):
        return selector
    environment = re.split("[/,]", selector, maxsplit=1)[0]
    if not is_pin(environment):
        return selector
    return name_of(environment) + selector.removeprefix(environment)
