"""`harness sweep`: run models in every environment, and say what changed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from harness.cli.dry_run import dry_run as print_dry_run
from harness.cli.sweep_options import adjusted, spec_of
from harness.errors import EXIT_CELLS_FAILED, EXIT_DONE, EXIT_NOTHING_RAN, StoreError
from harness.progress import Progress, RichProgress
from harness.spec.models import SweepSpec

_MODEL = "Model"
_INPUTS = "Images or arrays"
_WHERE = "Environments and axes"
_RUN = "Running"


def command(  # noqa: PLR0917 - each parameter is an option
    spec: Annotated[
        Path | None,
        typer.Argument(
            help="A sweep file (YAML), or the name of one that ships: wardrobe. Options add what it "
            "leaves open. Without it and without --model: the quick sweep.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A file (ONNX, TFLite, Keras, SavedModel, frozen graph; or weights with "
            "--architecture), or a name of `harness model list`; repeat for several.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Of weights (.npz, .pth, .safetensors): the network that they belong to, such as "
            "mobilenet_v2.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help="Of weights: how the network is built: own (as the checkpoint says), native (as "
            "each framework's library builds it), or changes as padding=symmetric,activation=relu; "
            "repeat for an axis (`harness model show NAME`).",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="How an image becomes the input: torch (ImageNet mean and deviation), "
            "tf (-1..1), caffe (BGR, mean taken off), raw (0..255), or a recipe file.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    class_offset: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Scores before the first class: 1 where 0 is background.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="auto, logits, probabilities, or values (no class scores).", rich_help_panel=_MODEL
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder of images: one folder a synset, flat with a list of labels, "
            "or unlabelled; volume:NAME for a named volume of the container engine.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="A .npy array [N, ...] in the model's own layout, instead of images.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    synsets: Annotated[
        Path | None,
        typer.Option(
            help="All classes in order: index, WordNet id, name. ImageNet's by default.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Lines of `file label` (with --inputs: a label a row).", rich_help_panel=_INPUTS
        ),
    ] = None,
    no_labels: Annotated[
        bool,
        typer.Option(
            "--no-labels",
            help="Leave ground truth out of account, though the folder has some.",
            rich_help_panel=_INPUTS,
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only so many: a seeded sample spread over the classes.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Only images of this class: index, WordNet id or name; repeat for several.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    only: Annotated[
        Path | None,
        typer.Option(
            help="Only the images that this file lists, one a line.", rich_help_panel=_INPUTS
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Of a Parquet dataset; validation by default, else test or the only one.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    preprocessing: Annotated[
        list[str] | None,
        typer.Option(
            "--preprocessing",
            help="Who decodes and resizes: reference (once for all), native (each environment by "
            "its own means), or pillow, opencv, torchvision, tensorflow, with settings as "
            "tensorflow,dct=accurate; repeat for an axis.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    corruption: Annotated[
        list[str] | None,
        typer.Option(
            "--corruption",
            help="What is done to the pixels: none, or as gaussian_noise:5 (1 to 5, 3 if left away); repeat for "
            "an axis.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    mistake: Annotated[
        list[str] | None,
        typer.Option(
            "--mistake",
            help="Made on purpose: none, bgr, no-mean, unit-range, squashed, transposed, "
            "double-softmax; repeat for an axis.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    recipe_of: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe-of",
            help="own (the checkpoint's recipe) or target (that of the library which runs it); "
            "repeat for an axis.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            help="An environment (`harness env list`), any version as package==version, "
            "somebody's image as image:NAME@sha256:…, or an interpreter as python:PATH; repeat "
            "for several. The first is the baseline.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            help="Only these backends of the environments, or all; by default each "
            "environment's first that can run the model.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            help="cpu, cuda (the first GPU), cuda:1 or cuda:GPU-UUID; repeat for an axis. "
            "Default cpu.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            "--threads",
            help="Threads a cell; repeat for an axis. Default 1.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            "--batch", help="Images a run; repeat for an axis. Default 1.", rich_help_panel=_WHERE
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            help="f32, or default for what the stack chooses itself; "
            "repeat for an axis. Default f32.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The environment that times are related to; the first by default.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    executor: Annotated[
        list[str] | None,
        typer.Option(
            help="docker (a container a cell), venv (a process a cell), or auto: docker where an "
            "engine answers (`harness doctor` says). Name both to compare them.",
            envvar="HARNESS_EXECUTOR",
            rich_help_panel=_RUN,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=2, help="Interleaved timing rounds. Default 16.", rich_help_panel=_RUN),
    ] = None,
    timing: Annotated[
        bool,
        typer.Option(
            "--timing/--no-timing",
            help="Whether cells are timed against each other.",
            rich_help_panel=_RUN,
        ),
    ] = True,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds after which a cell is given up. Default 3600.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Run cells again that failed before.", rich_help_panel=_RUN),
    ] = False,
    store: Annotated[Path, typer.Option(help="The results folder.", rich_help_panel=_RUN)] = Path(
        "results"
    ),
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print cells and jobs; weights and pixels are made, as keys need them, no cell is "
            "run.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the sweep file's JSON Schema and exit.", rich_help_panel=_RUN
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object on standard output.", rich_help_panel=_RUN
        ),
    ] = False,
) -> None:
    """Run models in every environment and compare answers and times.

    With nothing said, a quick sweep over three stacks, on a model and images made on the spot.
    What is finished is kept and never run twice: the same command resumes.

    [bold]Your own model:[/bold]

      harness sweep --model m.onnx --recipe torch --data images/ --env onnxruntime-1.31 --env openvino-2026.4

    [bold]Every stack there is:[/bold]

      harness sweep wardrobe --model m.onnx --recipe torch --data images/

    [bold]Trained weights, native in two frameworks:[/bold]

      harness sweep --model mobilenet_v2@torchvision --data images/ --env torch-2.13 --env tensorflow-2.21

    [bold]What does decoding cost?[/bold]

      harness sweep --model m.onnx --recipe torch --data images/ --env onnxruntime-1.31 --preprocessing reference --preprocessing opencv

    [bold]May I upgrade?[/bold]

      harness sweep --model m.onnx --inputs x.npy --env onnxruntime==1.25.1 --env onnxruntime==1.31.1

      harness compare --baseline onnxruntime==1.25.1 --candidate onnxruntime==1.31.1 --fail-on 'flips > 0'
    """
    if schema:
        sys.stdout.write(json.dumps(SweepSpec.model_json_schema(), indent=2) + "\n")
        return
    console = Console(stderr=True)
    progress = RichProgress(console)
    options: dict[str, Any] = {
        "--model": model, "--architecture": architecture, "--variant": variant,
        "--recipe": recipe, "--class-offset": class_offset, "--output": output,
        "--data": data, "--inputs": inputs, "--synsets": synsets, "--no-labels": no_labels or None,
        "--labels": labels,
        "--limit": limit, "--env": env, "--backend": backend, "--device": device,
        "--threads": threads, "--batch": batch, "--precision": precision,
        "--baseline": baseline, "--class": classes, "--only": only, "--split": split,
        "--preprocessing": preprocessing, "--corruption": corruption, "--mistake": mistake,
        "--recipe-of": recipe_of,
    }  # fmt: skip
    wanted = adjusted(spec_of(spec, options, progress), executor, rounds, timing, timeout)
    if dry_run:
        print_dry_run(wanted, store, progress, retry=retry, as_json=as_json)
        return
    _run(wanted, store, progress, quick=wanted.name == "quick", retry=retry, as_json=as_json)


def _run(
    spec: SweepSpec, store: Path, progress: Progress, *, quick: bool, retry: bool, as_json: bool
) -> None:
    from harness.analysis.sweep_result import sweep_result
    from harness.execution.sweep import run_sweep
    from harness.report.html import write_report
    from harness.report.tables import print_sweep, standard_output
    from harness.store.catalogue import refresh

    outcome = run_sweep(spec, store, progress, retry=retry)
    with progress.task("Comparing"):
        try:
            refresh(store)
        except StoreError as error:
            # Only a copy of what the bundles say: `status` and `query` do without it.
            progress.note(f"The catalogue was not renewed. {error.message}")
        result = sweep_result(store, outcome.id)
    console = standard_output()
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        print_sweep(result, console)
    with progress.task("Writing the report"):
        page = write_report(
            store, outcome.id, store / "reports" / f"{outcome.id}.html", result=result
        )
    if not as_json:
        console.print(Text.assemble("Report: ", (str(page), "bold")))
        for line in _go_on(store, quick=quick):
            console.print(Text(line), soft_wrap=True)
    if not outcome.failures:
        raise typer.Exit(EXIT_DONE)
    alive = any(status != "failed" for status in outcome.statuses.values())
    raise typer.Exit(EXIT_CELLS_FAILED if alive else EXIT_NOTHING_RAN)


def _go_on(store: Path, *, quick: bool) -> list[str]:
    named = "" if store == Path("results") else f" --store {shlex.quote(str(store))}"
    if quick:
        return [
            "Next, your own: harness sweep --model MODEL.onnx --recipe torch --data IMAGES/ "
            f"--env onnxruntime-1.31 --env onnxruntime==1.25.1{named}"
        ]
    return [f"More: harness status{named} · harness compare A B{named} · harness query SQL{named}"]
