"""The converters, by the edge that a job names. A module is imported only when it is asked for."""

from __future__ import annotations

import sys
from typing import Any, Dict, Tuple

from runner import plugins
from runner.backends.base import unsupported
from runner.errors import RunnerError
from runner.events import Events
from runner.jobs import ConvertJob

_NO_AXES = {"input_axes": None, "output_axes": None}


def names() -> Tuple[str, ...]:
    """All converters there are, whether or not this environment can run them."""
    return tuple(_modules())


def convert(job: ConvertJob, events: Events) -> None:
    """Make the target and emit the event `converted`.

    Raises:
        RunnerError: kind `unsupported` for an unknown converter or option, or a package that this
            environment does not have; `conversion` if the converter fails or its result is not
            usable.
    """
    modules = _modules()
    if job.converter not in modules:
        raise unsupported("the runner", "converter", job.converter, tuple(modules))
    try:
        module = modules[job.converter]()
    except ImportError as error:
        raise RunnerError(
            "unsupported", f"the converter {job.converter} does not import here: {error}"
        ) from error
    events.emit("converted", **dict(_NO_AXES, **module.convert(job)))


def probe(name: str) -> Dict[str, Any]:
    """Whether the packages of a converter import here: `ok`, and `detail` why not; never raises.

    `options` are those that it takes; of one that optimises, `passes` are those it has by name.
    """
    try:
        module = _modules()[name]()
        for each in getattr(module, "LATE_IMPORTS", ()):
            each()
        told: Dict[str, Any] = {
            "options": [str(option) for option in getattr(module, "OPTIONS", ())]
        }
        if hasattr(module, "passes"):
            told["passes"] = {which: list(names) for which, names in module.passes().items()}
    except Exception as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return {"ok": False, "detail": detail, "options": []}
    return dict({"ok": True, "detail": ""}, **told)


def _modules() -> Dict[str, plugins.Load]:
    return plugins.find(sys.modules[__name__], plugins.CONVERTERS, plugins.converter_name)
