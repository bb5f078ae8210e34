"""The converters, by the edge that a job names. A module is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict

from runner.backends.base import unsupported
from runner.errors import RunnerError
from runner.events import Events
from runner.jobs import ConvertJob

MODULES = {
    "onnx>torch": "runner.converters.onnx_to_torch",
}


def convert(job: ConvertJob, events: Events) -> None:
    """Make the target and emit the event `converted`.

    Raises:
        RunnerError: kind `unsupported` for an unknown converter or option, or a package that this
            environment does not have; `conversion` if the converter fails or its result is not
            usable.
    """
    if job.converter not in MODULES:
        raise unsupported("the runner", "converter", job.converter, tuple(MODULES))
    try:
        module = import_module(MODULES[job.converter])
    except ImportError as error:
        raise RunnerError(
            "unsupported", f"the converter {job.converter} does not import here: {error}"
        ) from error
    events.emit("converted", **module.convert(job))


def probe(name: str) -> Dict[str, Any]:
    """Whether the packages of a converter import here: `ok`, and `detail` why not; never raises."""
    try:
        module = import_module(MODULES[name])
        for each in getattr(module, "LATE_IMPORTS", ()):
            each()
    except Exception as error:
        return {"ok": False, "detail": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
    return {"ok": True, "detail": ""}
