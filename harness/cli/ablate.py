"""`harness ablate passes`: every optimisation of a compiler alone, and all but each."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from harness.cli import sweep_arguments as of
from harness.errors import EXIT_CELLS_FAILED, EXIT_DONE, EXIT_NOTHING_RAN
from harness.progress import Progress, RichProgress

if TYPE_CHECKING:
    from harness.spec.models import SweepSpec

_WHICH = "Which passes"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Take something away, and see what changes: passes of a compiler, one by one.",
)


@app.callback()
def _group() -> None:
    """A group, though it has one command so far."""


@app.command("passes")
def passes(  # noqa: PLR0917 - each parameter is an option
    model: Annotated[str, typer.Argument(help="A model file, or a name of `harness model list`.")],
    data: of.Data = None,
    inputs: of.Inputs = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="The environment (`harness env list`), or package==version.", show_default=False
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="The backend, where the environment has several: each compiles on its own."
        ),
    ] = None,
    optimise: Annotated[
        Literal["onnxoptimizer", "onnxsim"] | None,
        typer.Option(
            help="Instead of the backend's own passes: those of a tool that rewrites the ONNX file "
            "before the backend reads it.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    only_pass: Annotated[
        list[str] | None,
        typer.Option(
            "--pass",
            help="Only this pass; repeat for several. Default: all.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            help="alone (nothing but the pass, against all off) or without (all but the pass, "
            "against all on). Default: both.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    first_look: Annotated[
        int,
        typer.Option(
            min=1,
            help="Images that every point answers; only what changes something answers all of them.",
            rich_help_panel=_WHICH,
        ),
    ] = 8,
    listed: Annotated[
        bool,
        typer.Option(
            "--list",
            help="Print the passes by name and exit; needs no images.",
            rich_help_panel=_WHICH,
        ),
    ] = False,
    architecture: of.Architecture = None,
    recipe: of.RecipeName = None,
    class_offset: of.ClassOffset = None,
    output: of.OutputKind = None,
    synsets: of.Synsets = None,
    labels: of.Labels = None,
    limit: of.Limit = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--setting",
            help="An option of the backend that all points share: NAME=VALUE; repeat for several.",
        ),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="f32 or default. Default f32.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads. Default 1.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 … Default cpu.")] = None,
    route: Annotated[
        str | None, typer.Option(help="By which conversions the model reaches the backend.")
    ] = None,
    executor: of.ExecutorNames = None,
    rounds: of.Rounds = None,
    round_seconds: of.RoundSeconds = None,
    min_seconds: of.MinSeconds = None,
    min_queries: of.MinQueries = None,
    timing: of.Timing = True,
    timeout: of.Timeout = None,
    compile_timeout: of.CompileTimeout = None,
    retry: of.Retry = False,
    store: of.Store = Path("results"),
    as_json: of.AsJson = False,
) -> None:
    """Run a model with all passes off, all on, each alone, and all but each.

    Two tables: each pass alone against all off, and all but one against all on; labels that
    changed, the largest difference, the time with its interval, and which operators came and went.
    Every point is compiled and answers a few images; one that leaves the compiled form and these
    answers as they are is called inert, and is asked no more and never timed. What acts answers all
    images and is timed. One that crashes the compiler, or makes an invalid model, is a result like
    any other. What is finished is kept: the same command resumes.

    [bold]ONNX Runtime, optimizer by optimizer:[/bold]

      harness ablate passes m.onnx --recipe torch --data images/ --env onnxruntime-1.31

    [bold]Two passes of TVM, with 50 images:[/bold]

      harness ablate passes m.onnx --recipe torch --data images/ --limit 50 --env tvm-0.27 --pass FuseOps --pass FoldConstant

    [bold]What does the ONNX optimizer do to the file?[/bold]

      harness ablate passes m.onnx --recipe torch --data images/ --env onnxruntime-1.31 --optimise onnxoptimizer

    Exit codes: 0 all points ran, 2 bad input, 3 some passes failed (they are named), 4 nothing
    could be compared.
    """
    from harness.cli.sweep_options import model_of
    from harness.studies.ablation import ablate
    from harness.studies.pass_names import known_passes, stand_in
    from harness.studies.trials import Trials

    progress = RichProgress(Console(stderr=True))
    with ExitStack() as held:
        file = model_of(model).get("path")
        if listed and file is not None and data is None and inputs is None:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
            inputs = stand_in(Path(file), architecture, folder)
            recipe = synsets = labels = class_offset = None  # of images
        spec = _spec(
            {
                "--model": [model], "--architecture": architecture, "--recipe": recipe,
                "--class-offset": class_offset, "--output": output, "--data": data,
                "--inputs": inputs, "--synsets": synsets, "--labels": labels, "--limit": limit,
                "--env": _listed(env), "--backend": _listed(backend), "--device": _listed(device),
                "--threads": _listed(threads), "--precision": _listed(precision),
                "--route": _listed(route),
            },
            setting or [],
            progress,
            executor=executor,
            timing={
                "rounds": rounds, "round_seconds": round_seconds,
                "min_seconds": min_seconds, "min_queries": min_queries,
            },
            timeout=timeout,
            compile_timeout=compile_timeout,
        )  # fmt: skip
        trials = held.enter_context(Trials(store, spec, progress, retry=retry))
        if listed:
            names = known_passes(trials, optimise)
            sys.stdout.write(json.dumps(names) if as_json else "\n".join(names))
            sys.stdout.write("\n")
            return
        document = ablate(
            trials,
            progress,
            tool=optimise,
            chosen=only_pass or (),
            arms=_arms(arm),
            timed=timing,
            first_look=first_look,
        )
    _show(document, store, as_json=as_json)
    raise typer.Exit(_status(document))


def _listed(value: object) -> list[object] | None:
    return None if value is None else [value]


def _arms(given: list[str] | None) -> tuple[str, ...]:
    from harness.errors import UsageError
    from harness.studies.passes import ARMS

    if unknown := [one for one in given or () if one not in ARMS]:
        raise UsageError(
            f"--arm {unknown[0]!r} is not understood.", f"Give {' or '.join(ARMS)}, or both."
        )
    return tuple(given or ARMS)


def _spec(
    options: dict[str, Any], settings: list[str], progress: Progress, **how: Any
) -> SweepSpec:
    """The sweep of one cell that every point is a variant of."""
    from harness.cli.sweep_options import adjusted, read_setting, spec_of

    shared: dict[str, Any] = {}
    for text in settings:
        shared |= read_setting(text)
    known = defaultdict(lambda: None, options)
    known["--setting"] = [json.dumps(shared)] if shared else None
    return adjusted(spec_of(None, known, progress), **how)


def _show(document: dict[str, Any], store: Path, *, as_json: bool) -> None:
    from harness.canonical import storage_errors
    from harness.report.ablation import ablation_markdown, print_ablation
    from harness.report.ablation_page import write_ablation
    from harness.report.tables import standard_output
    from harness.store import layout

    kept = layout.study_path(store, document["id"])
    page = write_ablation(document, kept.with_name("study.html"))
    with storage_errors(page):
        page.with_name("study.md").write_text(ablation_markdown(document), encoding="utf-8")
    if as_json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
        return
    console = standard_output()
    print_ablation(document, console)
    console.print(Text.assemble("Report: ", (str(page), "bold")), soft_wrap=True)


def _status(document: dict[str, Any]) -> int:
    rows = document["rows"]
    references = {row["arm"]: row["status"] for row in rows if row["arm"] in {"off", "on"}}
    bad = {"failed", "skipped"}
    if all(row["status"] in bad for row in rows) or set(references.values()) <= bad:
        return EXIT_NOTHING_RAN
    return EXIT_CELLS_FAILED if any(row["status"] in bad for row in rows) else EXIT_DONE
