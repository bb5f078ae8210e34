"""The options of `harness sweep` about conversions, each with what it says of itself in `--help`."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "Conversions"

Routes = Annotated[
    list[str] | None,
    typer.Option(
        "--route",
        help="By which conversions the model reaches a backend: auto (the shortest way), all, or "
        "formats in order: keras>onnx>torch. onnx:tf2onnx names the converter where there are "
        "several, onnx@tf2onnx-1.17 where it runs (`harness model routes MODEL`). Repeat for an "
        "axis; quote it, for > means something to a shell.",
        rich_help_panel=_PANEL,
    ),
]
Opset = Annotated[
    list[str] | None,
    typer.Option(
        "--opset",
        help="ONNX operator set of the files on the way, such as 13; own: each converter's own. "
        "Repeat for an axis.",
        rich_help_panel=_PANEL,
    ),
]
Quantisation = Annotated[
    list[str] | None,
    typer.Option(
        "--quantisation",
        help="What a conversion does to the numbers: none, dynamic (8-bit weights), static (8 bits "
        "throughout, with --calibration images) or float16. Repeat for an axis.",
        rich_help_panel=_PANEL,
    ),
]
Folding = Annotated[
    list[str] | None,
    typer.Option(
        "--folding",
        help="Whether conversions fold constants: true, false, or own (each converter's own). "
        "Repeat for an axis.",
        rich_help_panel=_PANEL,
    ),
]
InputLayout = Annotated[
    list[str] | None,
    typer.Option(
        "--input-layout",
        help="Of the input of what conversions make: nchw (channels first), nhwc, or own (each "
        "converter's own). Repeat for an axis.",
        rich_help_panel=_PANEL,
    ),
]
Optimise = Annotated[
    list[str] | None,
    typer.Option(
        "--optimise",
        help="What the ONNX file goes through before it is read: none, onnxoptimizer or onnxsim; "
        "onnxoptimizer=fuse_bn_into_conv+eliminate_identity runs these passes alone, "
        "onnxsim-constant_folding all but this. Repeat for an axis.",
        rich_help_panel=_PANEL,
    ),
]
Calibration = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Images that static quantisation looks at, spread evenly. Default 100.",
        rich_help_panel=_PANEL,
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="How far a float32 conversion may be from its source, as a share of the range of its "
        "outputs; further off is a failure. Default 0.01. Those of quantised ones are in a sweep "
        "file's `conversions`.",
        rich_help_panel=_PANEL,
    ),
]
KeepIr = Annotated[
    bool,
    typer.Option(
        "--keep-ir",
        help="Keep what compilers make of the model (IR, generated code) with the results.",
        rich_help_panel=_PANEL,
    ),
]
