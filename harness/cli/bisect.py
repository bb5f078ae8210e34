"""`harness bisect`: what exactly is to blame for a difference between two cells."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="What exactly is to blame for the difference between two cells: which passes of a "
    "compiler, which operators of a model.",
)

_CELL = "as tables and `harness compare` name cells, or the beginning of its key"
A = Annotated[str, typer.Argument(metavar="A", help=f"The cell taken for right: {_CELL}.")]
B = Annotated[str, typer.Argument(metavar="B", help="The cell with the fault, likewise.")]
Model = Annotated[str | None, typer.Option("--model", help="Only cells of this model.")]
Sweep = Annotated[str | None, typer.Option("--sweep", help="Only cells of this sweep.")]
Image = Annotated[
    str | None,
    typer.Option(
        "--image", help="The image to look at: its name, the end of its name, or its index."
    ),
]
Store = Annotated[Path, typer.Option("--store", help="The results folder.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("passes")
def passes(
    a: A,
    b: B,
    *,
    image: Image = None,
    flips: Annotated[
        str | None,
        typer.Option("--flips", help="Look for this share of labels that differ, as 2%."),
    ] = None,
    max_diff: Annotated[
        float | None,
        typer.Option("--max-diff", help="Look for outputs that differ by so much or more."),
    ] = None,
    slower_than: Annotated[
        float | None,
        typer.Option(
            "--slower-than", help="Look for the time: so many times as long as A, as 1.2."
        ),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            help="Where a guilty setting stands for passes (a level), find those that have to run.",
        ),
    ] = True,
    model: Model = None,
    sweep: Sweep = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
    store: Store = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Find the smallest set of passes and settings that makes B differ from A.

    A and B are cells of one model, environment and backend that differ in settings or level. Each
    trial is a cell: A with some of B's changes. With no option it looks for the label that flips
    and is surest in A; where B failed, for what makes it fail.

    [bold]Which pass changes labels?[/bold]

      harness sweep --model m.onnx --recipe torch --data images/ --env tvm-0.27 --level default --level extended

      harness bisect passes 'tvm-0.27, level default' 'tvm-0.27, level extended'

    [bold]Which one costs the time?[/bold]

      harness bisect passes 'tvm-0.27, level default' 'tvm-0.27, level extended' --slower-than 1.1
    """
    from harness.progress import RichProgress
    from harness.report.bisection import passes_as_markdown, print_passes
    from harness.report.tables import standard_output
    from harness.store import layout
    from harness.studies import criteria
    from harness.studies.pass_study import study_passes

    named, criterion = criteria.of_options(
        image=image, flips=flips, max_diff=max_diff, slower_than=slower_than
    )
    found = study_passes(
        store,
        a,
        b,
        RichProgress(Console(stderr=True)),
        model=model,
        sweep=sweep,
        criterion=criterion,
        image=named,
        refine=refine,
        retry=retry,
    )
    page = layout.study_path(store, found["id"]).with_name("study.md")
    _write(page, passes_as_markdown(found))
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
        return
    console = standard_output()
    print_passes(found, console)
    console.print(Text.assemble("For a report: ", (str(page), "bold")), soft_wrap=True)


@app.command("operators")
def operators(
    a: A,
    b: B,
    *,
    image: Image = None,
    share: Annotated[
        float,
        typer.Option(
            "--share",
            help="A part shows the difference from this share of the whole model's on; less finds "
            "smaller parts where errors add up.",
            show_default=True,
        ),
    ] = 0.1,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the reproducer (default: beside the study)."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Run the reproducer in environments that are made for it alone."
        ),
    ] = False,
    model: Model = None,
    sweep: Sweep = None,
    store: Store = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Cut the model down to the smallest part that shows the difference of A and B.

    A and B are cells over the same images whose models come from the same ONNX file; they may be of
    different environments. Writes a reproducer, ready to attach to a bug report: subgraph.onnx,
    input.npy, reproduce.py and what to install.

    Ends with 3 where --verify runs it, and it is not shown to be reproduced.

    [bold]Which operator does bf16 hurt?[/bold]

      harness sweep --model m.onnx --recipe torch --data images/ --env openvino-2026.4 --precision f32 --precision default

      harness bisect operators 'openvino-2026.4, f32 precision' 'openvino-2026.4, default precision' --verify
    """
    from harness.errors import EXIT_CELLS_FAILED
    from harness.progress import RichProgress
    from harness.report.bisection import operators_as_markdown, print_operators
    from harness.report.tables import standard_output
    from harness.store import layout
    from harness.studies.operator_study import study_operators

    found = study_operators(
        store,
        a,
        b,
        RichProgress(Console(stderr=True)),
        model=model,
        sweep=sweep,
        image=image,
        share=share,
        out=out,
        verify=verify,
    )
    page = layout.study_path(store, found["id"]).with_name("study.md")
    _write(page, operators_as_markdown(found))
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        console = standard_output()
        print_operators(found, console)
        console.print(Text.assemble("For a report: ", (str(page), "bold")), soft_wrap=True)
    if verify and found["reproducer"]["runs"] and not found["reproducer"]["verified"]:
        raise typer.Exit(EXIT_CELLS_FAILED)


def _write(path: Path, text: str) -> None:
    from harness.canonical import storage_errors

    with storage_errors(path):
        path.write_text(text, encoding="utf-8")
