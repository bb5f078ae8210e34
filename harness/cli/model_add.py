"""`harness model add` and `remove`: a person's own models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.env_options import AsJson, print_json, print_out

if TYPE_CHECKING:
    from harness.models.adding import Added

_FIRST = ("onnxruntime-1.31", "litert-2.3", "torch-2.13", "tensorflow-2.21")
"""What is proposed for a first sweep, as far as it runs the file."""


def add(  # noqa: PLR0917 - each parameter is an option
    name: Annotated[
        str, typer.Argument(help="How to call it; or a TOML file that describes the model.")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="ONNX, TFLite, .keras, a SavedModel's folder, a frozen .pb, .pt2, or weights (.npz, "
            ".pth, .safetensors, Keras .h5)."
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="Of weights: the network that they belong to, such as resnet50."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="How an image becomes the input: torch, tf, caffe, raw, or a recipe file."
        ),
    ] = None,
    class_offset: Annotated[
        int | None, typer.Option(help="Outputs before class 0: 1 with a background class.")
    ] = None,
    output: Annotated[
        Literal["auto", "logits", "probabilities", "values"] | None,
        typer.Option(help="What the scores are; auto looks at them."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Input height and width, where the file leaves them open.")
    ] = None,
    layout: Annotated[
        Literal["NCHW", "NHWC"] | None, typer.Option(help="Where the input's shape does not tell.")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="Of weights: in what their network differs from the library's, such as "
            "padding=same; may be repeated."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="In words, kept with it.")] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Keep a copy of the file, so that yours may move.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of one that has this name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give a model of your own a name, by its file or by a TOML file that describes it.

    The file is read and checked, and stays where it is (--copy keeps a copy).

    Examples: harness model add mynet mynet.onnx --recipe torch;
    harness model add flowers flowers.pth --architecture resnet50 --recipe torch --variant stride=first;
    harness model add mynet.toml
    """
    from harness.models.adding import add_model

    options = {
        "architecture": architecture,
        "recipe": _recipe(recipe),
        "class_offset": class_offset,
        "output": output,
        "size": size,
        "layout": layout,
        "variant": _variant(variant or []),
        "licence": licence,
    }
    given = {key: value for key, value in options.items() if value not in (None, {})}
    if file is None:
        name, described = _described(Path(name), list(given))
    else:
        described = {"path": str(_absolute(file)), **given}
    added = add_model(name, described, replace_old=replace, copy=copy)
    if as_json:
        from harness.cli.model_show import describe

        print_json(
            {**describe(added.entry), "inputs": _tensors(added)[0], "outputs": _tensors(added)[1]}
        )
        return
    _print(added)


def remove(
    names: Annotated[list[str], typer.Argument(help="Models that were added.")],
    as_json: AsJson = False,
) -> None:
    """Forget models that were added. Your own files are left; copies made by --copy go."""
    from harness.models.adding import remove_model

    rows = []
    for name in names:
        gone = remove_model(name)
        rows.append({"name": name, "removed": [str(path) for path in gone]})
        if not as_json:
            print_out(f"{name}: removed {', '.join(str(path) for path in gone)}")
    if as_json:
        print_json({"models": rows})


def _described(path: Path, given: list[str]) -> tuple[str, dict[str, Any]]:
    """A description from a TOML file, as the options would have given it."""
    from harness.errors import UsageError
    from harness.models.user_models import SUFFIX, read_user_model

    if path.suffix.lower() != SUFFIX:
        raise UsageError(
            f"Which file {path} is, is not said.",
            f"harness model add {path} FILE, or a TOML file alone: harness model add {path}.toml",
        )
    if given:
        raise UsageError(
            f"{', '.join('--' + key.replace('_', '-') for key in given)} given, but {path} says it.",
            f"Write it into {path}.",
        )
    entry = read_user_model(path)
    described: dict[str, Any] = {
        "path": str(entry.path),
        "architecture": entry.architecture,
        "size": entry.size,
        "class_offset": entry.class_offset,
        "output": entry.output,
        "layout": entry.layout,
        "licence": entry.licence,
        "note": entry.note,
        "recipe": entry.recipe and entry.recipe.model_dump(exclude_none=True),
        "variant": dict(entry.variant),
        "sha256": entry.sha256,
    }
    return path.stem, {
        key: value for key, value in described.items() if value not in (None, "", {})
    }


def _absolute(path: Path) -> Path:
    return Path.cwd() / path.expanduser()


def _recipe(text: str | None) -> str | None:
    """The name of a recipe, or the path of a recipe file."""
    return str(_absolute(Path(text))) if text is not None and Path(text).suffix else text


def _variant(pairs: list[str]) -> dict[str, str | float]:
    from harness.errors import UsageError

    found: dict[str, str | float] = {}
    for pair in (part for text in pairs for part in text.split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not key or not value or key in found:
            raise UsageError(
                f"--variant {pair!r} is no variant.",
                "Write KEY=VALUE, each key once, such as --variant padding=same.",
            )
        try:
            number = float(value)
        except ValueError:
            found[key] = value
            continue
        if not math.isfinite(number):
            raise UsageError(
                f"--variant {pair!r} gives no finite number.",
                "Write one such as batch_norm_epsilon=1e-5.",
            )
        found[key] = number
    return found


def _tensors(added: Added) -> tuple[list[str], list[str]]:
    file = added.file
    return [one.shown() for one in file.inputs], [one.shown() for one in file.outputs]


def _print(added: Added) -> None:
    entry, file = added.entry, added.file
    inputs, outputs = _tensors(added)
    lines = {
        "added": f"{entry.name} ({entry.origin_file})",
        "file": f"{file.path} ({file.format}, {file.size_bytes / 1e6:.1f} MB)",
        "SHA-256": file.sha256,
        "architecture": entry.architecture or "not said",
        "inputs": "; ".join(inputs) or "the file does not tell",
        "outputs": "; ".join(outputs) or "the file does not tell",
        "classes": str(entry.classes or "the file does not tell"),
        "recipe": entry.recipe.name if entry.recipe else "none",
    }
    width = max(map(len, lines)) + 2
    for key, value in lines.items():
        print_out(f"{key:<{width}}{value}")
    if entry.recipe is None:
        print_out(
            "Images need a recipe (`harness model add … --replace --recipe torch|tf|caffe|raw`, or "
            "--recipe in the sweep); without one it can be fed arrays (--inputs X.npy)."
        )
    if entry.classes == 1001 and entry.class_offset == 0:
        print_out(
            "1001 outputs: if the first is a background class before ImageNet's 1000, say "
            "--class-offset 1."
        )
    from harness.cli.model_show import runs_in

    able = runs_in(entry)
    chosen = [name for name in _FIRST if name in able] or list(able)[:1]
    environments = " ".join(f"--env {one}" for one in chosen) or "--env NAME"
    print_out(f"Run it: harness sweep --model {entry.name} {environments} --data DIR")
