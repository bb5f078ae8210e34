"""The spec that is meant: a file's with what options add, the quick one's, or the options' own."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.models.file_names import check_text
from harness.models.suffixes import MODEL_SUFFIXES
from harness.paths import shipped
from harness.progress import Progress
from harness.spec.models import NATIVE, OWN, VOLUME, SweepSpec

_OF_A_MODEL = ("--architecture", "--variant", "--recipe", "--class-offset", "--output")
_AXES = (
    *("device", "threads", "batch", "precision"),
    *("preprocessing", "corruption", "mistake"),
    *("route", "quantisation", "optimise"),
)
_OWN = "own"
_FOLDING: dict[str, str | bool] = {"true": True, "false": False, _OWN: _OWN}

Options = dict[str, Any]
"""Options by name (`--model`); None or an empty list where one was left away."""


def spec_of(path: Path | None, options: Options, progress: Progress) -> SweepSpec:
    """The sweep that is asked for.

    Raises:
        SpecError: options that contradict each other, or a sweep file with faults.
    """
    from harness.spec.load import load_spec, read_document
    from harness.spec.quick import QUICK, quick_spec

    given = [name for name, value in options.items() if value not in (None, [])]
    if path is not None and str(path) != QUICK:
        file = _file(path)
        feeds_array = "inputs" in read_document(file)
        return load_spec(file, _document_of(options, feeds_array=feeds_array))
    if options["--model"] and path is None:
        return _spec_of_options(options)
    if given:
        raise SpecError(
            f"{', '.join(given)} given, but the quick sweep brings everything itself."
            if options["--model"]
            else f"{', '.join(given)} given, but no model to run.",
            "Name one with --model PATH; `harness sweep` alone runs the quick sweep.",
        )
    return quick_spec(progress)


def _file(path: Path) -> Path:
    """A sweep file; a name alone may be one of those that ship."""
    ours = shipped("sweeps") / f"{path}.yaml"
    if path.exists() or path.name != str(path):
        return path
    if not ours.is_file() and not path.suffix:
        known = ", ".join(sorted(found.stem for found in shipped("sweeps").glob("*.yaml")))
        raise SpecError(
            f"There is no sweep file {path}, and none of that name ships.",
            f"Those that ship: {known}. An environment is named with --env {path}.",
        )
    return ours if ours.is_file() else path


def _spec_of_options(options: Options) -> SweepSpec:
    from harness.spec.load import check_spec

    if not options["--env"]:
        raise SpecError(
            "No environment is named.",
            "Name at least one: --env onnxruntime-1.31 --env openvino-2026.4, or any version: "
            "--env onnxruntime==1.25.1. `harness env list` shows those that ship.",
        )
    if options["--data"] is None and options["--inputs"] is None:
        raise SpecError(
            "There is nothing to run the model on.",
            "Give a folder of images with --data DIR, or an array with --inputs X.npy.",
        )
    return check_spec(_document_of(options), "options")


def _document_of(options: Options, *, feeds_array: bool = False) -> dict[str, Any]:
    """What the options say of a sweep file's content, with absolute paths.

    Args:
        options: by name.
        feeds_array: whether the file itself names an array of inputs, which `--limit` and
            `--labels` then belong to.
    """
    model = {
        "architecture": options["--architecture"],
        "variants": [read_variant(text) for text in options["--variant"] or ()],
        "recipe": _recipe(options["--recipe"]),
        "class_offset": options["--class-offset"],
        "output": options["--output"],
    }
    if _given(model) and not options["--model"]:
        raise SpecError(
            f"{', '.join(_named(options, *_OF_A_MODEL))} belong to a model, and none is named.",
            "Name one with --model PATH, or write them into the sweep file.",
        )
    models = [{**_model(text), **_given(model)} for text in options["--model"] or ()]
    axes = {name: options[f"--{name}"] for name in _AXES}
    axes["instruction_set"] = options["--instruction-set"]
    axes["settings"] = [read_setting(text) for text in options["--setting"] or ()]
    axes["level"] = options["--level"]
    axes["recipe"] = options["--recipe-of"]
    axes["layout"] = options["--input-layout"]
    axes["opset"] = [read_opset(text) for text in options["--opset"] or ()]
    axes["folding"] = [read_folding(text) for text in options["--folding"] or ()]
    source = {"labels": _absolute(options["--labels"]), "limit": options["--limit"]}
    data = {
        "path": _absolute(options["--data"]),
        "synsets": _absolute(options["--synsets"]),
        "labelled": False if options["--no-labels"] else None,
        "classes": options["--class"],
        "only": _absolute(options["--only"]),
        "split": options["--split"],
    }
    inputs = {"path": _absolute(options["--inputs"])}
    if options["--inputs"] is not None or feeds_array:
        if alone := _named(options, "--synsets", "--class", "--only", "--split"):
            raise SpecError(
                f"{', '.join(alone)} belongs to --data.",
                "Give --labels a class index a row for --inputs.",
            )
        inputs.update(source)
    else:
        data.update(source)
    return _given(
        {
            "models": models,
            "data": _given(data) or None,
            "inputs": _given(inputs) or None,
            "environments": options["--env"],
            "backends": options["--backend"],
            "axes": _given(axes) or None,
            "baseline": options["--baseline"],
        }
    )


def _model(text: str) -> dict[str, Any]:
    """A model by its file, or by a name of the registry.

    What exists, has a separator or ends like a model file is a path; an error about a name tells
    of close ones, one about a path says that it is not there. A folder that is no SavedModel does
    not stand in the way of a name.
    """
    path = Path(text)
    check_text(str(path))
    if path.name == text and _is_other_folder(path):
        from harness.models.registry import is_known

        if is_known(text):
            return {"checkpoint": text}
    if path.expanduser().exists() or path.name != text or path.suffix.lower() in MODEL_SUFFIXES:
        return {"path": _absolute(path)}
    return {"checkpoint": text}


def model_of(
    text: str, *, architecture: str | None = None, recipe: str | None = None
) -> dict[str, Any]:
    """A model by its file or its name, with what is said of it, as a sweep file names it.

    Args:
        text: the file, or the name.
        architecture: of weights.
        recipe: its name, or a recipe file.
    """
    return _given({**_model(text), "architecture": architecture, "recipe": _recipe(recipe)})


def _is_other_folder(path: Path) -> bool:
    return path.is_dir() and not any(
        (path / name).exists() for name in ("saved_model.pb", "saved_model.pbtxt")
    )


def read_variant(text: str) -> str | dict[str, str | int | float]:
    """Read `padding=symmetric,batch_norm_epsilon=1e-5`; `own` and `native` stay what they are.

    Raises:
        SpecError: another form.
    """
    found: dict[str, str | int | float] = {}
    if text in {OWN, NATIVE}:
        return text
    for pair in text.split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name or not value or name in found:
            raise SpecError(
                f"--variant {text!r} is not understood.",
                "Write name=value, several with commas, each once: padding=symmetric; or own, or native.",
            )
        found[name] = _number(name, value)
    return found


def read_setting(text: str) -> dict[str, Any]:
    """Read `name=value`, or a JSON object of several; a value is JSON, or else a text.

    Raises:
        SpecError: another form.
    """
    if text.lstrip().startswith("{"):
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise SpecError(f"--setting {text!r} is no JSON object: {error}.") from error
        return found
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name or not value:
        raise SpecError(
            f"--setting {text!r} is not understood.",
            "Write name=value, as optimization=basic or disabled_passes='[\"FuseOps\"]'; or several "
            "as one JSON object.",
        )
    try:
        return {name: json.loads(value)}
    except ValueError:
        if value[0] in "[{":
            raise SpecError(
                f"--setting {name}: {value} is no JSON.", 'Write a list as \'["A", "B"]\'.'
            ) from None
        return {name: value}


def read_opset(text: str) -> str | int:
    """Read an ONNX operator set: a number, or `own`.

    Raises:
        SpecError: another form.
    """
    if text == _OWN:
        return text
    if not (text.isascii() and text.isdigit()):
        raise SpecError(
            f"--opset {text!r} is no operator set of ONNX.",
            "Give a number, such as --opset 17; own leaves it to the converters.",
        )
    return int(text)


def read_folding(text: str) -> str | bool:
    """Read `true`, `false` or `own`.

    Raises:
        SpecError: another word.
    """
    if text not in _FOLDING:
        raise SpecError(
            f"--folding {text!r} is not understood.",
            "Give true, false, or own (as each converter does it by itself).",
        )
    return _FOLDING[text]


def _number(name: str, text: str) -> str | int | float:
    with contextlib.suppress(ValueError):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise SpecError(
            f"--variant {name}={text} is no number to build a network with.",
            "Give a finite one, such as batch_norm_epsilon=1e-5.",
        )
    return number


def _named(options: Options, *names: str) -> list[str]:
    return [name for name in names if options[name] not in (None, [])]


def _absolute(path: Path | None) -> str | None:
    """As meant from the current folder; a named volume stays what it is."""
    if path is None or path.as_posix().startswith(VOLUME):
        return None if path is None else check_text(str(path))
    return check_text(str(_here() / path.expanduser()))


def _recipe(recipe: str | None) -> str | None:
    """The name of a recipe, or the path of a recipe file."""
    return _absolute(Path(recipe)) if recipe is not None and Path(recipe).suffix else recipe


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise SpecError(
            "The current folder does not exist any more.", "Change into another one."
        ) from error


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Without what was left away."""
    return {name: value for name, value in values.items() if value not in (None, [])}


def adjusted(
    spec: SweepSpec,
    *,
    executor: list[str] | None = None,
    timing: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    calibration: int | None = None,
    tolerance: float | None = None,
    keep_ir: bool = False,
    fingerprint: bool | None = None,
    compile_timeout: float | None = None,
) -> SweepSpec:
    """A sweep with what may be said beside a sweep file: how to run, not what.

    `timing` holds fields of the spec's `timing`; None or an empty list where one was left away.
    """
    from harness.spec.load import check_spec

    document = spec.model_dump(exclude_unset=True)
    if executor:
        document["executor"] = executor
    if keep_ir:
        document["keep_ir"] = True
    if fingerprint is not None:
        document["fingerprint"] = fingerprint
    more: dict[str, dict[str, Any]] = {
        "timing": dict(timing or {}),
        "limits": {"timeout_seconds": timeout, "compile_seconds": compile_timeout},
        "conversions": {"calibration": calibration, "tolerance": tolerance},
    }
    for place, values in more.items():
        if given := _given(values):
            document[place] = {**document.get(place, {}), **given}
    source = "options, HARNESS_EXECUTOR" if os.environ.get("HARNESS_EXECUTOR") else "options"
    return check_spec(document, source)
