"""The preprocessors, by the name that a job gives. A module is imported only when it is asked for.

A preprocessor decodes an image file, resizes it and crops it by the means of one library. Its
module holds `SETTINGS` (each with its values, the first is the default), `versions()` and
`decode_and_fit(data, geometry, settings)`. It may hold `DETAILS`, which says why a value of a
setting is not offered here, `check(geometry, settings)`, which refuses what the library can't do
before anything is decoded, and `start()`, which is called once in the process that prepares.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Dict, Mapping, Tuple

from runner import plugins
from runner.backends.base import unsupported
from runner.errors import RunnerError


def names() -> Tuple[str, ...]:
    """All preprocessors there are, whether or not this environment has their library."""
    return tuple(_modules())


def load(name: str) -> ModuleType:
    """The module of a preprocessor.

    Raises:
        RunnerError: kind `unsupported`, for an unknown name, or a library that this environment
            does not have.
    """
    modules = _modules()
    if name not in modules:
        raise unsupported("the runner", "preprocessor", name, tuple(modules))
    try:
        return modules[name]()
    except ImportError as error:
        raise RunnerError(
            "unsupported", f"the preprocessor {name} does not import in this environment: {error}"
        ) from error


def effective(name: str, module: ModuleType, asked: Mapping[str, Any]) -> Dict[str, Any]:
    """All settings of a preprocessor: those asked for, and the defaults of the others.

    Raises:
        RunnerError: kind `unsupported`, naming what is asked for and what there is.
    """
    settings: Mapping[str, Tuple[Any, ...]] = module.SETTINGS
    for setting in asked:
        if setting not in settings:
            raise unsupported(name, "setting", setting, tuple(settings))
    chosen = {}
    for setting, allowed in settings.items():
        value = asked.get(setting, allowed[0])
        same = [option for option in allowed if _same(value, option)]
        if not same:
            why = getattr(module, "DETAILS", {}).get(setting, "")
            raise unsupported(name, f"value of {setting}", value, allowed, why=why)
        chosen[setting] = same[0]
    return chosen


def probe(name: str) -> Dict[str, Any]:
    """The object under `preprocessors` of the event `probe`; never raises.

    `version` is that of the library, `offer` what it can be asked for (null where it is not ok).
    """
    try:
        module = load(name)
        versions: Mapping[str, str] = module.versions()
        offer = {"settings": {key: list(values) for key, values in module.SETTINGS.items()}}
    except RunnerError as error:
        return _absent(error.message)
    except Exception as error:
        return _absent(" ".join(f"{type(error).__name__}: {error}".split())[:500])
    details = "; ".join(getattr(module, "DETAILS", {}).values())
    return {"ok": True, "version": next(iter(versions.values())), "detail": details, "offer": offer}


def _absent(why: str) -> Dict[str, Any]:
    return {"ok": False, "version": "", "detail": why, "offer": None}


def _same(value: Any, option: Any) -> bool:
    """Whether a value means an option: 2 is 2.0, and 1 is not true."""
    if isinstance(value, bool) or isinstance(option, bool):
        return value is option
    return bool(value == option)


def _modules() -> Dict[str, plugins.Load]:
    return plugins.find(sys.modules[__name__], plugins.PREPROCESSORS, plugins.preprocessor_name)
