"""The sweep file as a person writes it: pydantic models with every default and every bound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.environments.instruction_sets import InstructionSet
from harness.spec.axes import Axes, Level, Precision, Route, Settings
from harness.spec.strict import Name, Strict
from harness.spec.timing import Timing

Output = Literal["auto", "logits", "probabilities", "values"]
Layout = Literal["NCHW", "NHWC"]
DataLayout = Literal[
    "labelled-files",
    "metadata",
    "devkit",
    "synset-folders",
    "index-folders",
    "parquet",
    "unlabelled",
]
ExecutorName = Literal["docker", "venv"]


def _is_finite(variant: dict[str, str | int | float]) -> dict[str, str | int | float]:
    for key, value in variant.items():
        if isinstance(value, float) and not math.isfinite(value):
            msg = f"{key} must be a finite number, not {value}"
            raise ValueError(msg)
    return variant


Variant = Annotated[dict[Name, str | int | float], AfterValidator(_is_finite)]

OWN = "own"
"""In place of a variant: as the checkpoint says."""

NATIVE = "native"
"""In place of a variant: as each framework's own library builds the network."""

ALL = "all"
"""In place of backends: every one that an environment offers."""

VOLUME = "volume:"
"""How the path of images begins that lie in a named volume of the container engine."""


def _all_alone(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names is not None and ALL in names and len(names) > 1:
        msg = "`all` stands alone: it is every backend"
        raise ValueError(msg)
    return names


Backends = Annotated[tuple[Name, ...] | None, AfterValidator(_all_alone)]


class ModelEntry(Strict):
    """A model, by its file or by its name, with how to feed it and how to read its classes."""

    path: Path | None = Field(
        None,
        description="An ONNX, TFLite, Keras, SavedModel or frozen TensorFlow model, an exported "
        "PyTorch program (.pt2), or weights (.npz, .pth, .safetensors) with an `architecture`; or a TOML file that describes one.",
    )
    checkpoint: Name | None = Field(
        None,
        description="Instead of a path: a name of `harness model list`, such as "
        "mobilenet_v2@torchvision. What it says holds unless it is said here.",
    )
    name: Name | None = Field(None, description="How it is called; the file's stem by default.")
    architecture: Name | None = Field(
        None, description="Of weights: the network that they belong to, such as mobilenet_v2."
    )
    variants: tuple[Variant | Literal["own", "native"], ...] = Field(
        ("own",),
        min_length=1,
        description="Of weights: how the network is built, each a cell of its own: own (as the "
        "checkpoint says), native (as each framework's own library builds it), or changes to own, "
        "such as {padding: symmetric} (`harness model show`).",
    )
    recipe: str | None = Field(
        None,
        description="How an image becomes the input: tf, torch, caffe, raw, or a recipe file. "
        "Not used with `inputs`.",
    )
    class_offset: int = Field(
        0, ge=0, le=100, description="Index of the list's first class: 1 where 0 is background."
    )
    output: Output = Field(
        "auto", description="What the first output holds; `auto` tells from the values."
    )
    layout: Layout | None = Field(None, description="Only where the input's shape does not tell.")
    size: int | None = Field(None, ge=8, le=4096, description="Input size where it is dynamic.")

    @model_validator(mode="after")
    def _one_source(self) -> ModelEntry:
        if (self.path is None) == (self.checkpoint is None):
            msg = "give exactly one of `path` (a file) and `checkpoint` (a name)"
            raise ValueError(msg)
        return self


class DataEntry(Strict):
    """A folder of images and the labels that belong to it."""

    path: Path = Field(
        description="A folder, a Parquet file, or volume:NAME[/FOLDER] for a named volume of the "
        "engine."
    )
    synsets: Path | None = Field(
        None, description="All classes in order (index, WordNet id, name); ImageNet's by default."
    )
    labels: Path | None = Field(None, description="Lines of `file label`, for flat folders.")
    labelled: bool = Field(True, description="false: ground truth is left out of account.")
    split: Name | None = Field(
        None,
        description="Of several: Parquet files or a folder data/<split>; by default validation, "
        "else test, else the only one.",
    )
    layout: DataLayout | None = Field(
        None,
        description="Take this layout, such as index-folders for class indexes 0, 1, 2 …; by "
        "default the first that fits.",
    )
    classes: tuple[Name | int, ...] | None = Field(
        None, min_length=1, description="Only these: by index, WordNet id or name."
    )
    only: Path | None = Field(None, description="Only the images that this file lists, one a line.")
    limit: int | None = Field(None, ge=1, description="A seeded sample spread over the classes.")
    seed: int = Field(0, ge=0)

    @property
    def volume(self) -> str | None:
        """NAME[/FOLDER] of a named volume; None for a folder of this machine."""
        text = self.path.as_posix()
        return text.removeprefix(VOLUME) if text.startswith(VOLUME) else None


class InputsEntry(Strict):
    """An array of ready inputs instead of images."""

    path: Path = Field(description="A .npy file [N, ...] in the model's own layout.")
    labels: Path | None = Field(None, description="One class index a line, or a .npy of integers.")
    limit: int | None = Field(None, ge=1, description="The first so many rows of a seeded draw.")


class EnvironmentEntry(Strict):
    """A pinned environment, with axes of its own where they differ from the sweep's."""

    name: Name | tuple[Name, ...] = Field(
        description="A folder's name, package==version, image:REFERENCE or python:PATH; of "
        "several, the first with wheels for the Python at hand."
    )
    backends: Backends = Field(
        None, min_length=1, description="As the sweep's `backends`, for this environment."
    )
    precision: tuple[Precision, ...] | None = Field(None, min_length=1)
    threads: tuple[Annotated[int, Field(ge=1, le=1024)], ...] | None = Field(None, min_length=1)
    instruction_set: tuple[InstructionSet, ...] | None = Field(None, min_length=1)
    level: tuple[Level, ...] | None = Field(
        None, min_length=1, description="As the axis `level`, for this environment."
    )
    settings: tuple[Settings, ...] | None = Field(
        None, min_length=1, description="As the axis `settings`, for this environment."
    )
    route: tuple[Route, ...] | None = Field(
        None, min_length=1, description="As the axis `route`, for this environment."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The candidates, in the order in which they are tried."""
        return (self.name,) if isinstance(self.name, str) else self.name


class Limits(Strict):
    """When to give a cell up."""

    timeout_seconds: float = Field(3600, gt=0, description="For one cell's answers, or a round.")
    compile_seconds: float | None = Field(
        None,
        gt=0,
        description="From the start of a cell's worker until its model is loaded, compiled and "
        "has run once; as timeout_seconds by default.",
    )
    output_bytes: int = Field(2 << 30, gt=0, description="The most that a cell's outputs may hold.")
    memory_mib: int = Field(8192, ge=64, description="Of a container, its /tmp included.")
    tmp_mib: int = Field(2048, ge=1, description="A container's /tmp, which is memory.")
    shm_mib: int = Field(256, ge=1, description="A container's shared memory.")
    pids: int = Field(1024, ge=16, description="Processes and threads of a container.")


class Conversions(Strict):
    """How conversions are checked. Differences are shares of the range of the source's outputs."""

    tolerance: float = Field(
        0.01, ge=0, description="How far a converted model may be from its source."
    )
    float16_tolerance: float = Field(0.05, ge=0, description="The same, made of 16-bit numbers.")
    quantised_tolerance: float = Field(0.5, ge=0, description="The same, made of integers.")
    images: int = Field(4, ge=1, le=1000, description="The first so many are used for the check.")
    calibration: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Images that static quantisation looks at, spread evenly.",
    )
    timeout_seconds: float = Field(1800, gt=0, description="For one conversion, or its check.")
    memory_mib: int = Field(
        12288, ge=64, description="That a conversion may use, in a container or not."
    )


class SweepSpec(Strict):
    """A whole sweep: models x inputs x environments x axes."""

    schema_version: Literal[1] = 1
    name: Name = "sweep"
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    data: DataEntry | None = None
    inputs: InputsEntry | None = None
    environments: tuple[EnvironmentEntry, ...] = Field(min_length=1)
    backends: Backends = Field(
        None,
        min_length=1,
        description="These, where an environment offers them; `all` for every one. By default one "
        "of each environment: that which the model reaches in the fewest conversions.",
    )
    axes: Axes = Axes()
    baseline: Name | None = Field(
        None, description="The environment that times are related to; the first by default."
    )
    executor: Literal["auto"] | Annotated[tuple[ExecutorName, ...], Field(min_length=1)] = Field(
        "auto",
        description="docker (a container a cell), venv (a process a cell), a list of both to "
        "compare them, or auto: docker where an engine answers.",
    )
    timing: Timing = Timing()
    limits: Limits = Limits()
    conversions: Conversions = Conversions()
    keep_ir: bool = Field(
        False, description="Keep what compilers make of the model: IR and generated code."
    )
    fingerprint: bool | None = Field(
        None,
        description="Prove by a hash and a count of operators what each model was compiled to, so "
        "that settings which change nothing are known; by default where a backend is run at more "
        "than one level or with several settings.",
    )

    @field_validator("executor", mode="before")
    @classmethod
    def _executor_alone(cls, value: object) -> object:
        given = value if isinstance(value, list | tuple) else (value,)
        names = tuple(dict.fromkeys(str(name) for name in given))
        if names == ("auto",):
            return "auto"
        if not names or not set(names) <= set(get_args(ExecutorName)):
            msg = "must be auto, docker, venv, or both docker and venv to compare them"
            raise ValueError(msg)
        return names

    @field_validator("environments", mode="before")
    @classmethod
    def _names_alone(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return tuple({"name": v} if isinstance(v, str | list) else v for v in value)

    @model_validator(mode="after")
    def _one_source_of_inputs(self) -> SweepSpec:
        if (self.data is None) == (self.inputs is None):
            msg = "give exactly one of `data` (a folder of images) and `inputs` (a .npy array)"
            raise ValueError(msg)
        return self
