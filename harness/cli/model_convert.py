"""`harness model convert`: one model into another format, each step checked against its source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from harness.cli.env_options import AsJson, ExecutorName, Executors, print_json, print_out
from harness.errors import EXIT_CELLS_FAILED, UsageError

if TYPE_CHECKING:
    from harness.execution.convert_model import Converted

_ASK = "What is asked for"
_FED = "What it is checked and calibrated with"
_OWN = "own"
# What a failure's own remedy calls by its name in a sweep file.
_HERE = {
    "disagreement": "Here: --tolerance SHARE allows more.",
    "timeout": "Here: --timeout SECONDS allows more.",
    "out-of-memory": "Here: --memory MIB allows more.",
}


def convert(  # noqa: PLR0917 - each parameter is an option
    model: Annotated[
        str,
        typer.Argument(
            help="A model file (ONNX, TFLite, .keras, a SavedModel's folder, a frozen .pb, .pt2; weights "
            "with --architecture), or a name of `model list`."
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            help="The format: onnx, torch, keras, savedmodel, graphdef, tflite, … by the shortest "
            "route that can do what is asked (`harness model routes MODEL`).",
            rich_help_panel=_ASK,
        ),
    ] = None,
    route: Annotated[
        str | None,
        typer.Option(
            help="Instead of --to: the formats on the way, as in 'weights>keras>onnx:tf2onnx'. "
            ":tf2onnx names the converter where there are several, @tf2onnx-1.17 where it runs. "
            "Quote it, for > means something to a shell.",
            rich_help_panel=_ASK,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where the result goes; by default the model's name with the format's suffix, in "
            "the current folder.",
            rich_help_panel=_ASK,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Put it in the place of what is there.", rich_help_panel=_ASK),
    ] = False,
    opset: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="ONNX operator set of the ONNX files on the way, or of the result.",
            rich_help_panel=_ASK,
        ),
    ] = None,
    quantisation: Annotated[
        Literal["none", "dynamic", "static", "float16"],
        typer.Option(
            help="dynamic: 8-bit weights; static: 8 bits throughout, with ranges taken from --data "
            "or --inputs; float16.",
            rich_help_panel=_ASK,
        ),
    ] = "none",
    folding: Annotated[
        Literal["own", "true", "false"],
        typer.Option(
            help="Whether constants are folded; own: as each converter does it by itself.",
            rich_help_panel=_ASK,
        ),
    ] = "own",
    input_layout: Annotated[
        Literal["own", "nchw", "nhwc"],
        typer.Option(help="Of the input of the result.", rich_help_panel=_ASK),
    ] = "own",
    optimise: Annotated[
        str,
        typer.Option(
            help="What the ONNX file goes through on the way: onnxoptimizer or onnxsim; with passes "
            "that alone run (onnxoptimizer=fuse_bn_into_conv), or without some "
            "(onnxsim-constant_folding).",
            rich_help_panel=_ASK,
        ),
    ] = "none",
    env: Annotated[
        str | None,
        typer.Option(
            help="The environment that is to read the result: what only its own stack reads "
            "(Keras files, PyTorch programs) is made there.",
            rich_help_panel=_ASK,
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Of weights: the network that they belong to, such as resnet50.",
            rich_help_panel=_ASK,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder of images; without it and --inputs, inputs are made on the spot.",
            rich_help_panel=_FED,
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="A .npy array [N, ...] in the model's own layout, instead of images.",
            rich_help_panel=_FED,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only so many of them, a seeded sample; as many as are looked at by default.",
            rich_help_panel=_FED,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="How an image becomes the input: torch, tf, caffe, raw, or a recipe file; what is "
            "known of the model by default.",
            rich_help_panel=_FED,
        ),
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Inputs that static quantisation looks at, spread evenly [100].",
            rich_help_panel=_FED,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="How far each step may be from its source, as a share of the range of its outputs; "
            "further off is a failure [0.01; float16 0.05; integers 0.5].",
            rich_help_panel=_FED,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds after which a conversion is given up [1800].",
            rich_help_panel=_FED,
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            min=64,
            help="MiB that a conversion may use; it is ended when it uses more [12288].",
            rich_help_panel=_FED,
        ),
    ] = None,
    executor: Executors = ExecutorName.auto,
    as_json: AsJson = False,
) -> None:
    """Convert one model, checking every step against its source.

    What is made is kept: the same command a second time converts nothing.
    A step that fails, or answers otherwise than its source, is named with
    what the converter said (exit code 3), and nothing is written.

    [bold]The shortest way:[/bold]

      harness model convert m.onnx --to tflite

    [bold]A way of your own, with real images:[/bold]

      harness model convert mobilenet_v2@torchvision --route 'weights>torch>onnx:dynamo' --data images/

    [bold]8 bits:[/bold]

      harness model convert m.onnx --to onnx --quantisation static --data images/ --recipe torch -o m8.onnx

      harness model convert m.onnx --to onnx --optimise onnxsim -o m-simple.onnx
    """
    from harness.cli.sweep_options import model_of
    from harness.execution.convert_model import Wanted, intend
    from harness.execution.convert_model import convert as make
    from harness.execution.convert_output import check_free, output_path, put
    from harness.progress import RichProgress

    if (to is None) == (route is None):
        raise UsageError(
            "Give either the format (--to) or the whole way (--route).",
            "`harness model routes MODEL` shows the ways there are.",
        )
    if data is not None and inputs is not None:
        raise UsageError("Give either images (--data) or arrays (--inputs).", "Leave one away.")
    progress = RichProgress(Console(stderr=True))
    described = model_of(model, architecture=architecture, recipe=recipe)
    tolerances = ("tolerance", "float16_tolerance", "quantised_tolerance")
    intent = intend(
        Wanted(
            model=described,
            to=to,
            route=route,
            axes={
                "opset": [_OWN if opset is None else opset],
                "quantisation": [quantisation],
                "folding": [{"true": True, "false": False}.get(folding, _OWN)],
                "layout": [input_layout],
                "optimise": [optimise],
            },
            conversions={
                **({} if tolerance is None else dict.fromkeys(tolerances, tolerance)),
                **({} if calibration is None else {"calibration": calibration}),
                **({} if timeout is None else {"timeout_seconds": timeout}),
                **({} if memory is None else {"memory_mib": memory}),
            },
            reader=env,
            data=data,
            inputs=inputs,
            limit=limit,
            executor=executor.value,
        ),
        progress,
    )
    stem = Path(model).stem if "path" in described else model
    target = output_path(output, stem, intent.format, intent.source)
    check_free(target, force=force)
    if intent.inputs_made:
        progress.note(
            f"Checked with inputs made on the spot ({intent.inputs_made}): real ones, with --data "
            "or --inputs, say more."
        )
    done = make(intent, progress)
    if done.artifact is not None:
        put(done.artifact, target, force=force)
    if as_json:
        print_json(_document(done, target))
    else:
        _print(done, target)
    if done.failure is not None:
        raise typer.Exit(EXIT_CELLS_FAILED)


def _document(done: Converted, target: Path) -> dict[str, Any]:
    failure = None
    if done.failure is not None:
        log = None if done.log is None else str(done.log)
        failure = {**done.failure.record(), "log": log}
    return {
        "model": done.model,
        "route": done.route,
        "format": done.format,
        "status": done.status,
        "path": None if done.artifact is None else str(target),
        "artifact": None if done.artifact is None else str(done.artifact),
        "steps": [step.record() for step in done.steps],
        "input_axes": done.axes.get("input_axes"),
        "output_axes": done.axes.get("output_axes"),
        "inputs_made": done.inputs_made or None,
        "failure": failure,
    }


def _print(done: Converted, target: Path) -> None:
    for number, step in enumerate(done.steps, start=1):
        one = step.conversion
        time = "" if step.seconds is None else f" ({step.seconds:.1f} s)"
        print_out(f"{number}. {one.converter} in {one.environment}: {step.status}{time}")
        if step.status in {"made", "kept"}:
            print_out(f"   {_checked(step.check)}")
    if done.failure is not None:
        print_out(f"Failed ({done.failure.kind}): {done.failure.message}")
        if hint := _HERE.get(done.failure.kind):
            print_out(f"  {hint}")
        if done.log is not None:
            print_out(f"  Its log: {done.log}")
        return
    if done.status == "kept":
        print_out("Nothing was converted: all of it was made before.")
    if axes := done.axes.get("input_axes"):
        print_out(
            f"Its input is the model's, transposed: x.transpose({', '.join(map(str, axes))})."
        )
    for number, back in enumerate(done.axes.get("output_axes") or ()):
        if back is not None:
            shown = ", ".join(map(str, back))
            print_out(f"Its output {number}, transposed by ({shown}), is the model's.")
    print_out(f"{done.model} as {done.route}: {target}")


def _checked(check: Any) -> str:
    """What the check of a step found, and who ran both."""
    if check is None:
        return "not compared with its source: nothing here can run it"
    if not check["target"]:
        return f"not compared with its source: {check['note']}"
    if check["share"] is None:
        return f"runs by {check['target']}; not compared with its source: {check['note']}"
    return (
        f"largest difference {check['max_abs_diff']:.2g} over {check['images']} inputs, "
        f"{100 * check['share']:.2g} % of the range ({100 * check['tolerance']:.2g} % allowed): "
        f"{check['source']} against {check['target']}"
    )
