"""The spec that the options of `harness sweep` mean: a file's, the quick one's, or their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.progress import Progress
from harness.spec.models import SweepSpec

Options = dict[str, Any]
"""Options by name (`--model`); None or an empty list where one was left away."""


def spec_of(path: Path | None, options: Options, progress: Progress) -> SweepSpec:
    """The sweep that is asked for.

    Raises:
        SpecError: options that contradict each other, or a sweep file with faults.
    """
    from harness.spec.load import load_spec
    from harness.spec.quick import QUICK, quick_spec

    given = [name for name, value in options.items() if value not in (None, [])]
    if path is not None and str(path) != QUICK:
        if given:
            raise SpecError(
                f"{', '.join(given)} cannot be given beside the sweep file {path}.",
                "Write it into the file, or leave the file away.",
            )
        return load_spec(path)
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


def _spec_of_options(options: Options) -> SweepSpec:
    from harness.spec.load import anchored, check_spec

    if not options["--env"]:
        raise SpecError(
            "No environment is named.",
            "Name at least one: --env onnxruntime-1.31 --env openvino-2026.4, or any version: "
            "--env onnxruntime==1.25.1. `harness env list` shows those that ship.",
        )
    model = {
        "recipe": options["--recipe"],
        "class_offset": options["--class-offset"],
        "output": options["--output"],
    }
    axes = {name: options[f"--{name}"] for name in ("device", "threads", "batch", "precision")}
    document: dict[str, Any] = {
        "models": [{"path": str(path), **_given(model)} for path in options["--model"]],
        "environments": options["--env"],
        "axes": _given(axes),
        **_given({"backends": options["--backend"], "baseline": options["--baseline"]}),
    }
    source = {"labels": options["--labels"], "limit": options["--limit"]}
    if options["--data"] is not None:
        document["data"] = _given(
            {
                "path": options["--data"],
                "synsets": options["--synsets"],
                "labelled": False if options["--no-labels"] else None,
                **source,
            }
        )
    if options["--inputs"] is not None:
        if options["--synsets"] is not None:
            raise SpecError(
                "--synsets belongs to --data.", "Give --labels a class index a row for --inputs."
            )
        document["inputs"] = _given({"path": options["--inputs"], **source})
    if options["--data"] is None and options["--inputs"] is None:
        raise SpecError(
            "There is nothing to run the model on.",
            "Give a folder of images with --data DIR, or an array with --inputs X.npy.",
        )
    return anchored(check_spec(document, "options"), _here())


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise SpecError(
            "The current folder does not exist any more.", "Change into another one."
        ) from error


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Without options that were left away; paths become text."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if value not in (None, [])
    }


def adjusted(
    spec: SweepSpec,
    executor: list[str] | None,
    rounds: int | None,
    timing: bool,
    timeout: float | None,
) -> SweepSpec:
    """A sweep with what may be said beside a sweep file: how to run, not what."""
    from harness.spec.load import check_spec

    document = spec.model_dump(exclude_unset=True)
    if executor:
        document["executor"] = executor
    times = dict(document.get("timing", {}))
    if rounds is not None:
        times["rounds"] = rounds
    if not timing:
        times["enabled"] = False
    if times:
        document["timing"] = times
    if timeout is not None:
        document["limits"] = {**document.get("limits", {}), "timeout_seconds": timeout}
    source = "options, HARNESS_EXECUTOR" if os.environ.get("HARNESS_EXECUTOR") else "options"
    return check_spec(document, source)
