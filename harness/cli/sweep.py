"""`harness sweep`: run models in every environment, and say what changed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from harness.cli import conversion_arguments as by
from harness.cli import sweep_arguments as of
from harness.cli.dry_run import dry_run as print_dry_run
from harness.cli.durations import read_duration
from harness.cli.sweep_options import adjusted, spec_of
from harness.errors import EXIT_CELLS_FAILED, EXIT_DONE, EXIT_NOTHING_RAN, StoreError
from harness.progress import Progress, RichProgress
from harness.spec.models import SweepSpec


def command(  # noqa: PLR0917 - each parameter is an option
    spec: of.Spec = None,
    model: of.Models = None,
    architecture: of.Architecture = None,
    variant: of.Variants = None,
    recipe: of.RecipeName = None,
    class_offset: of.ClassOffset = None,
    output: of.OutputKind = None,
    data: of.Data = None,
    inputs: of.Inputs = None,
    synsets: of.Synsets = None,
    labels: of.Labels = None,
    no_labels: of.NoLabels = False,
    limit: of.Limit = None,
    classes: of.Classes = None,
    only: of.Only = None,
    split: of.Split = None,
    preprocessing: of.Preprocessing = None,
    corruption: of.Corruption = None,
    mistake: of.Mistake = None,
    recipe_of: of.RecipeOf = None,
    env: of.Environments = None,
    backend: of.Backends = None,
    device: of.Devices = None,
    threads: of.Threads = None,
    batch: of.Batch = None,
    precision: of.Precision = None,
    instruction_set: of.InstructionSets = None,
    level: of.Levels = None,
    setting: of.Settings = None,
    baseline: of.Baseline = None,
    route: by.Routes = None,
    opset: by.Opset = None,
    quantisation: by.Quantisation = None,
    folding: by.Folding = None,
    input_layout: by.InputLayout = None,
    optimise: by.Optimise = None,
    calibration: by.Calibration = None,
    tolerance: by.Tolerance = None,
    keep_ir: by.KeepIr = False,
    fingerprint: of.Fingerprint = None,
    executor: of.ExecutorNames = None,
    scenario: of.Scenarios = None,
    offline_batch: of.OfflineBatches = None,
    rounds: of.Rounds = None,
    round_seconds: of.RoundSeconds = None,
    min_seconds: of.MinSeconds = None,
    min_queries: of.MinQueries = None,
    fresh_processes: of.FreshProcesses = None,
    timing: of.Timing = True,
    timeout: of.Timeout = None,
    compile_timeout: of.CompileTimeout = None,
    budget: of.Budget = None,
    retry: of.Retry = False,
    store: of.Store = Path("results"),
    dry_run: of.DryRun = False,
    schema: of.Schema = False,
    as_json: of.AsJson = False,
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

    [bold]What does a conversion do to it?[/bold]

      harness sweep --model m.keras --recipe tf --data images/ --env tensorflow-2.21 --env onnxruntime-1.31 --route 'keras>onnx:tf2onnx' --route 'keras>onnx:keras' --route keras

    [bold]What do the compilers do to it?[/bold]

      harness sweep --model m.onnx --recipe torch --data images/ --env onnxruntime-1.31 --env tvm-0.27 --level basic --level default --level extended

    [bold]As much of it as ten minutes allow:[/bold]

      harness sweep levels --model m.onnx --recipe torch --data images/ --budget 10m

    [bold]What can it do in bulk?[/bold]

      harness sweep --model m.onnx --recipe torch --data images/ --env onnxruntime-1.31 --env openvino-2026.4 --scenario single_stream --scenario offline

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
        "--instruction-set": instruction_set, "--level": level, "--setting": setting,
        "--baseline": baseline, "--class": classes, "--only": only, "--split": split,
        "--preprocessing": preprocessing, "--corruption": corruption, "--mistake": mistake,
        "--recipe-of": recipe_of, "--route": route, "--opset": opset,
        "--quantisation": quantisation, "--folding": folding, "--input-layout": input_layout,
        "--optimise": optimise,
    }  # fmt: skip
    wanted = adjusted(
        spec_of(spec, options, progress),
        executor=executor,
        timing={
            "enabled": None if timing else False,
            "scenarios": scenario,
            "offline_batches": offline_batch,
            "rounds": rounds,
            "round_seconds": round_seconds,
            "min_seconds": min_seconds,
            "min_queries": min_queries,
            "fresh_processes": fresh_processes,
        },
        timeout=timeout,
        calibration=calibration,
        tolerance=tolerance,
        keep_ir=keep_ir,
        fingerprint=fingerprint,
        compile_timeout=compile_timeout,
    )
    seconds = None if budget is None else read_duration("--budget", budget)
    if dry_run:
        if seconds is not None:
            progress.note("A dry run plans all of it: what --budget cuts is known after its probe.")
        print_dry_run(wanted, store, progress, retry=retry, as_json=as_json)
        return
    quick = wanted.name == "quick"
    _run(wanted, store, progress, seconds, quick=quick, retry=retry, as_json=as_json)


def _run(
    spec: SweepSpec,
    store: Path,
    progress: Progress,
    seconds: float | None,
    *,
    quick: bool,
    retry: bool,
    as_json: bool,
) -> None:
    from harness.execution.sweep import run_sweep

    if seconds is None:
        outcome = run_sweep(spec, store, progress, retry=retry, meanwhile=_import_the_end)
    else:
        from harness.studies.budget import sweep_within

        outcome = sweep_within(
            seconds, spec, store, progress, retry=retry, meanwhile=_import_the_end
        )
    from harness.analysis.sweep_result import sweep_result
    from harness.report.html import write_report
    from harness.report.tables import print_sweep, standard_output
    from harness.store.catalogue import refresh

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


def _import_the_end() -> None:
    """Make ready what judges and shows a sweep: a second that nobody waits for while cells load."""
    import harness.analysis.sweep_result
    import harness.execution.validity
    import harness.report.tables
    import harness.store.catalogue  # noqa: F401
    from harness.report.html import page_template

    page_template()


def _go_on(store: Path, *, quick: bool) -> list[str]:
    named = "" if store == Path("results") else f" --store {shlex.quote(str(store))}"
    if quick:
        return [
            "Next, your own: harness sweep --model MODEL.onnx --recipe torch --data IMAGES/ "
            f"--env onnxruntime-1.31 --env onnxruntime==1.25.1{named}"
        ]
    return [f"More: harness status{named} · harness compare A B{named} · harness query SQL{named}"]
