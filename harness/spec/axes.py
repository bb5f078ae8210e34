"""The axes of a sweep file: what every environment is run with, and what may stand there."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from harness.environments.instruction_sets import InstructionSet
from harness.environments.variables import VARIABLES, fault_of_variables
from harness.spec.feeding import NONE, REFERENCE, canonical_corruption, canonical_preprocessing
from harness.spec.optimise import checked_optimise
from harness.spec.routes import canonical_route
from harness.spec.strict import Name, Strict

Precision = Literal["f32", "default"]
_DEVICE = re.compile(r"cpu|cuda(:(\d{1,3}|(GPU|MIG)-[0-9A-Za-z-]+))?")


def _is_device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        msg = "must be cpu, cuda (the first GPU), cuda:INDEX, or cuda:UUID as `nvidia-smi -L` shows"
        raise ValueError(msg)
    return text


Device = Annotated[str, AfterValidator(_is_device)]

Optimise = Annotated[str, AfterValidator(checked_optimise)]

Level = Literal["own", "basic", "default", "extended", "tuned"]
"""An optimisation level; `own`: settings as they are given."""

Mistake = Literal[
    "none", "bgr", "no-mean", "unit-range", "squashed", "transposed", "double-softmax"
]
RecipeOf = Literal["own", "target"]
Route = Annotated[str, AfterValidator(canonical_route)]
Opset = Annotated[int, Field(ge=1, le=99)] | Literal["own"]
Quantisation = Literal["none", "dynamic", "static", "float16"]
Folding = Annotated[bool, Field(strict=True)] | Literal["own"]
ModelLayout = Literal["own", "nchw", "nhwc"]
Preprocessing = Annotated[str, AfterValidator(canonical_preprocessing)]
Corruption = Annotated[str, AfterValidator(canonical_corruption)]


def _can_be_set(settings: dict[str, Any]) -> dict[str, Any]:
    variables = settings.get(VARIABLES)
    if variables is not None and (fault := fault_of_variables(variables)):
        raise ValueError(fault)
    return settings


Settings = Annotated[dict[Name, Any], AfterValidator(_can_be_set)]
"""Options of a backend, and `variables` of its process; the backend checks its own."""


class Axes(Strict):
    """What every environment is run with; each combination is a cell."""

    device: tuple[Device, ...] = Field(
        ("cpu",),
        min_length=1,
        description="cpu, cuda (the first GPU), cuda:INDEX or cuda:UUID.",
    )
    threads: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field((1,), min_length=1)
    batch: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field((1,), min_length=1)
    precision: tuple[Precision, ...] = Field(("f32",), min_length=1)
    instruction_set: tuple[InstructionSet, ...] = Field(
        ("own",),
        min_length=1,
        description="The highest that may run on the CPU, so that one machine can stand for "
        "others: own (what the processor has), sse4.1, avx, avx2 (with FMA), avx512, avx512_vnni, "
        "avx512_bf16 or amx. Where a stack does not keep to it the combination is skipped.",
    )
    level: tuple[Level, ...] = Field(
        ("own",),
        min_length=1,
        description="How much a compiler optimises: own (settings as they are given), basic (the "
        "least it does), default (what one gets unasked), extended (what it offers beyond), tuned "
        "(a tuner chose). docs/levels.md says what each is of every backend; where a backend has "
        "no such level the combination is skipped.",
    )
    settings: tuple[Settings, ...] = Field(
        ({},),
        min_length=1,
        description="Each a cell of its own, beside its level: options of the backend as its "
        "probe offers them (`harness env probe NAME`), lists of passes such as disabled_passes, and "
        "`variables`: environment variables of its process.",
    )
    preprocessing: tuple[Preprocessing, ...] = Field(
        (REFERENCE,),
        min_length=1,
        description="Who decodes and resizes: reference (once for all cells), native (each "
        "environment by its own means), or pillow, opencv, torchvision, tensorflow, with settings "
        "as in `tensorflow,dct=accurate`.",
    )
    corruption: tuple[Corruption, ...] = Field(
        (NONE,),
        min_length=1,
        description="What is done to the pixels: none, or a name and a severity from 1 to 5, as "
        "in gaussian_noise:3.",
    )
    mistake: tuple[Mistake, ...] = Field(
        ("none",), min_length=1, description="Made on purpose, to see what it costs and who tells."
    )
    recipe: tuple[RecipeOf, ...] = Field(
        ("own",),
        min_length=1,
        description="own: the checkpoint's; target: the one that the stack's own library uses for "
        "this architecture, as somebody would who feeds a converted model the usual way.",
    )
    route: tuple[Route, ...] = Field(
        ("auto",),
        min_length=1,
        description="By which conversions the model reaches the backend: auto (the shortest way), "
        "all, or formats in order, such as keras>onnx>torch, with the converter where there are "
        "several (keras>onnx:tf2onnx) and the environment it runs in (onnx@tf2onnx-1.17). See "
        "`harness model routes`.",
    )
    opset: tuple[Opset, ...] = Field(
        ("own",), min_length=1, description="Of ONNX files that conversions write."
    )
    quantisation: tuple[Quantisation, ...] = Field(
        ("none",),
        min_length=1,
        description="What a conversion does to the numbers: none, dynamic (8-bit weights), static "
        "(8 bits throughout, with calibration images) or float16.",
    )
    folding: tuple[Folding, ...] = Field(
        ("own",), min_length=1, description="Whether conversions fold constants."
    )
    layout: tuple[ModelLayout, ...] = Field(
        ("own",), min_length=1, description="Of the input of what conversions make."
    )
    optimise: tuple[Optimise, ...] = Field(
        ("none",),
        min_length=1,
        description="What the ONNX file goes through before a backend, or a further conversion, reads "
        "it: none, onnxoptimizer or onnxsim; with passes that alone run, as in "
        "onnxoptimizer=fuse_bn_into_conv+eliminate_identity, or without some, as in "
        "onnxsim-constant_folding.",
    )
