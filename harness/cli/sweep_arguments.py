"""The options of `harness sweep`, each with what it says of itself in `--help`; conversions' are apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODEL = "Model"
_INPUTS = "Images or arrays"
_WHERE = "Environments and axes"
_RUN = "Running"

Spec = Annotated[
    Path | None,
    typer.Argument(
        help="A sweep file (YAML), or the name of one that ships, such as wardrobe or levels. "
        "Options add what it leaves open. Without it and without --model: the quick sweep.",
        show_default=False,
    ),
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="A file (ONNX, TFLite, Keras, SavedModel, frozen graph, .pt2; or weights with "
        "--architecture), or a name of `harness model list`; repeat for several.",
        rich_help_panel=_MODEL,
    ),
]
Architecture = Annotated[
    str | None,
    typer.Option(
        help="Of weights (.npz, .pth, .safetensors): the network that they belong to, such as "
        "mobilenet_v2.",
        rich_help_panel=_MODEL,
    ),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        help="Of weights: how the network is built: own (as the checkpoint says), native (as "
        "each framework's library builds it), or changes as padding=symmetric,activation=relu; "
        "repeat for an axis (`harness model show NAME`).",
        rich_help_panel=_MODEL,
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="How an image becomes the input: torch (ImageNet mean and deviation), "
        "tf (-1..1), caffe (BGR, mean taken off), raw (0..255), or a recipe file.",
        rich_help_panel=_MODEL,
    ),
]
ClassOffset = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Scores before the first class: 1 where 0 is background.",
        rich_help_panel=_MODEL,
    ),
]
OutputKind = Annotated[
    str | None,
    typer.Option(
        help="auto, logits, probabilities, or values (no class scores).", rich_help_panel=_MODEL
    ),
]

Data = Annotated[
    Path | None,
    typer.Option(
        help="A folder of images: one folder a synset, flat with a list of labels, "
        "or unlabelled; volume:NAME for a named volume of the container engine.",
        rich_help_panel=_INPUTS,
    ),
]
Inputs = Annotated[
    Path | None,
    typer.Option(
        help="A .npy array [N, ...] in the model's own layout, instead of images.",
        rich_help_panel=_INPUTS,
    ),
]
Synsets = Annotated[
    Path | None,
    typer.Option(
        help="All classes in order: index, WordNet id, name. ImageNet's by default.",
        rich_help_panel=_INPUTS,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Lines of `file label` (with --inputs: a label a row).", rich_help_panel=_INPUTS
    ),
]
NoLabels = Annotated[
    bool,
    typer.Option(
        "--no-labels",
        help="Leave ground truth out of account, though the folder has some.",
        rich_help_panel=_INPUTS,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Only so many: a seeded sample spread over the classes.",
        rich_help_panel=_INPUTS,
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        help="Only images of this class: index, WordNet id or name; repeat for several.",
        rich_help_panel=_INPUTS,
    ),
]
Only = Annotated[
    Path | None,
    typer.Option(help="Only the images that this file lists, one a line.", rich_help_panel=_INPUTS),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Of a Parquet dataset; validation by default, else test or the only one.",
        rich_help_panel=_INPUTS,
    ),
]
Preprocessing = Annotated[
    list[str] | None,
    typer.Option(
        "--preprocessing",
        help="Who decodes and resizes: reference (once for all), native (each environment by "
        "its own means), or pillow, opencv, torchvision, tensorflow, with settings as "
        "tensorflow,dct=accurate; repeat for an axis.",
        rich_help_panel=_INPUTS,
    ),
]
Corruption = Annotated[
    list[str] | None,
    typer.Option(
        "--corruption",
        help="What is done to the pixels: none, or as gaussian_noise:5 (1 to 5, 3 if left away); repeat for "
        "an axis.",
        rich_help_panel=_INPUTS,
    ),
]
Mistake = Annotated[
    list[str] | None,
    typer.Option(
        "--mistake",
        help="Made on purpose: none, bgr, no-mean, unit-range, squashed, transposed, "
        "double-softmax; repeat for an axis.",
        rich_help_panel=_INPUTS,
    ),
]
RecipeOf = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe-of",
        help="own (the checkpoint's recipe) or target (that of the library which runs it); "
        "repeat for an axis.",
        rich_help_panel=_INPUTS,
    ),
]

Environments = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        help="An environment (`harness env list`), any version as package==version, "
        "somebody's image as image:NAME@sha256:…, or an interpreter as python:PATH; repeat "
        "for several. The first is the baseline.",
        rich_help_panel=_WHERE,
    ),
]
Backends = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        help="Only these backends of the environments, or all; by default one of each: "
        "that which the model reaches in the fewest conversions.",
        rich_help_panel=_WHERE,
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        help="cpu, cuda (the first GPU), cuda:1 or cuda:GPU-UUID; repeat for an axis. Default cpu.",
        rich_help_panel=_WHERE,
    ),
]
Threads = Annotated[
    list[int] | None,
    typer.Option(
        "--threads",
        help="Threads a cell; repeat for an axis. Default 1.",
        rich_help_panel=_WHERE,
    ),
]
Batch = Annotated[
    list[int] | None,
    typer.Option(
        "--batch", help="Images a run; repeat for an axis. Default 1.", rich_help_panel=_WHERE
    ),
]
Precision = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        help="f32, or default for what the stack chooses itself; repeat for an axis. Default f32.",
        rich_help_panel=_WHERE,
    ),
]
Levels = Annotated[
    list[str] | None,
    typer.Option(
        "--level",
        help="How much compilers optimise: own (settings as given; the default), basic, default, "
        "extended, tuned. What each is of every backend: docs/levels.md. Repeat for an axis.",
        rich_help_panel=_WHERE,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        help="An option of the backends: NAME=VALUE, the value as JSON or a plain text, as "
        'disabled_passes=\'["FuseOps"]\'; or several as one JSON object. variables=\'{"NAME": '
        '"text"}\' sets environment variables. Repeat for an axis.',
        rich_help_panel=_WHERE,
    ),
]
InstructionSets = Annotated[
    list[str] | None,
    typer.Option(
        "--instruction-set",
        help="The highest of the processor's that may run: own (what it has), sse4.1, avx, avx2, "
        "avx512, avx512_vnni, avx512_bf16, amx; so that one machine can stand for others. Repeat "
        "for an axis. Default own.",
        rich_help_panel=_WHERE,
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        help="The environment that times are related to; the first by default.",
        rich_help_panel=_WHERE,
    ),
]

Fingerprint = Annotated[
    bool | None,
    typer.Option(
        "--fingerprint/--no-fingerprint",
        help="Whether each cell proves by a hash and a count of operators what its model was "
        "compiled to. By default where a backend has several levels or settings.",
        rich_help_panel=_RUN,
    ),
]
ExecutorNames = Annotated[
    list[str] | None,
    typer.Option(
        "--executor",
        help="docker (a container a cell), venv (a process a cell), or auto: docker where an "
        "engine answers (`harness doctor` says). Name both to compare them.",
        envvar="HARNESS_EXECUTOR",
        rich_help_panel=_RUN,
    ),
]
Scenarios = Annotated[
    list[str] | None,
    typer.Option(
        "--scenario",
        help="single_stream (how long one query takes; the default) or offline (the most inputs a "
        "second, at the batch that gives it); repeat for both.",
        rich_help_panel=_RUN,
    ),
]
OfflineBatches = Annotated[
    list[int] | None,
    typer.Option(
        "--offline-batch",
        min=1,
        help="A batch that offline tries; repeat for several. Otherwise found by doubling.",
        rich_help_panel=_RUN,
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Interleaved timing rounds. Default 16; fewer than 15 are marked INVALID.",
        rich_help_panel=_RUN,
    ),
]
RoundSeconds = Annotated[
    float | None,
    typer.Option(
        help="About how long a cell is timed in each round. Default 0.25.", rich_help_panel=_RUN
    ),
]
MinSeconds = Annotated[
    float | None,
    typer.Option(
        help="How long a cell is timed over all rounds, at least. Default 2.",
        rich_help_panel=_RUN,
    ),
]
MinQueries = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many queries a cell is timed over, at least. Default 100.",
        rich_help_panel=_RUN,
    ),
]
FreshProcesses = Annotated[
    bool | None,
    typer.Option(
        "--fresh-processes",
        help="Time each round in processes of its own: slower, and shows differences of 1 to 3 %.",
        rich_help_panel=_RUN,
    ),
]
Timing = Annotated[
    bool,
    typer.Option(
        "--timing/--no-timing",
        help="Whether cells are timed against each other.",
        rich_help_panel=_RUN,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Seconds after which a cell is given up. Default 3600.",
        rich_help_panel=_RUN,
    ),
]
CompileTimeout = Annotated[
    float | None,
    typer.Option(
        "--compile-timeout",
        min=1,
        help="Seconds in which a cell's model must be loaded and compiled. Default: --timeout.",
        rich_help_panel=_RUN,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="Do as much as fits into this time, as 90s, 10m or 1h30m: cells are probed first, then "
        "images and rounds are cut, and what is too slow is left out. What was cut is said.",
        rich_help_panel=_RUN,
    ),
]
Retry = Annotated[
    bool,
    typer.Option(
        "--retry",
        help="Run cells again that failed before, and time again what is INVALID.",
        rich_help_panel=_RUN,
    ),
]
Store = Annotated[Path, typer.Option(help="The results folder.", rich_help_panel=_RUN)]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print cells, conversions and jobs; weights and pixels are made, as keys need them, "
        "no cell is run.",
        rich_help_panel=_RUN,
    ),
]
Schema = Annotated[
    bool,
    typer.Option(
        "--schema", help="Print the sweep file's JSON Schema and exit.", rich_help_panel=_RUN
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel=_RUN),
]
