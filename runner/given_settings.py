"""Values of settings that are no choice among few: lists of names, numbers, texts, flags, variables."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, Mapping, Sequence, Tuple

from runner.errors import RunnerError
from runner.refusals import unknown_name, unsupported

FREE_KINDS = {
    "integer": "a whole number",
    "text": "a text",
    "names": "a list of texts, each once",
    "flags": "a mapping of names to texts, numbers or true and false",
}
"""The kinds of a free setting, and what a value of each is."""

VARIABLES = "variables"
"""The setting that every backend has: environment variables of the process that runs the model."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_REFUSED_VARIABLES = frozenset({"PATH", "HOME", "TMPDIR", "CUDA_VISIBLE_DEVICES"})
_REFUSED_BEGINNINGS = ("LD_", "PYTHON")
_ADDED_TO = frozenset({"XLA_FLAGS", "TF_CPP_VMODULE"})
"""Lists to which backends add what they need themselves; what was asked for must still be there."""


def listed_names(backend: str, setting: str, value: Any, there: Sequence[str]) -> Tuple[str, ...]:
    """A list of names, each known and given once, in its order.

    Raises:
        RunnerError: kind `unsupported`, with near names for one that is not known: some libraries
            ignore such a name in silence.
    """
    names = _texts(backend, setting, value)
    for name in names:
        if name not in there:
            raise unknown_name(backend, setting, name, there)
    return names


def free_value(backend: str, setting: str, kind: str, value: Any) -> Any:
    """A value of one of `FREE_KINDS`; a list becomes a tuple.

    Raises:
        RunnerError: kind `unsupported`: it is no such value.
    """
    if kind == "names":
        return _texts(backend, setting, value)
    if kind == "integer" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "flags" and _is_flags(value):
        return dict(value)
    raise unsupported(backend, f"value of {setting}", value, (FREE_KINDS[kind],))


def checked_variables(value: Any) -> Dict[str, str]:
    """Environment variables of a worker.

    Raises:
        RunnerError: kind `unsupported`: no mapping of names to texts, or a name that would change
            where the runner finds its own parts.
    """
    if not isinstance(value, Mapping):
        raise _bad_variables(f"they are a mapping of NAME to text, not {value!r}")
    for name, text in value.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise _bad_variables(f"{name!r} is no name: capital letters, digits and underscores")
        if name in _REFUSED_VARIABLES or name.startswith(_REFUSED_BEGINNINGS):
            raise _bad_variables(f"{name} says where a worker finds its parts and can't be set")
        if not isinstance(text, str) or "\0" in text:
            raise _bad_variables(f"{name} is {text!r} and must be a text (write numbers in quotes)")
    return dict(value)


def split_variables(
    settings: Mapping[str, Any], present: Mapping[str, str]
) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """The settings that are the backend's own, and the variables, which must be there already.

    Args:
        settings: of a job.
        present: the variables of this process.

    Raises:
        RunnerError: kind `unsupported`: a variable that can't be set, or that this process does not
            have as asked for, since the runner itself sets it or nobody did.
    """
    variables = checked_variables(settings.get(VARIABLES) or {})
    for name, text in variables.items():
        if present.get(name) != text:
            raise _bad_variables(
                f"{name} was to be {text!r} and is {present.get(name)!r} in the process: what "
                "threads and instruction_set set is theirs, and whoever starts a runner by hand "
                "sets its variables"
            )
    own = {name: value for name, value in settings.items() if name != VARIABLES}
    return own, variables


def check_kept(variables: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Refuse variables that a backend has set otherwise since: they are not what it runs with.

    Args:
        variables: as they were asked for.
        present: the variables of this process, once the model is loaded.

    Raises:
        RunnerError: kind `unsupported`.
    """
    for name, text in variables.items():
        now = present.get(name)
        added = now is not None and set(text.split()) <= set(now.split())
        if now != text and not (name in _ADDED_TO and added):
            raise _bad_variables(
                f"{name} was to be {text!r}, and the backend itself makes it {now!r}: give the "
                "setting or the axis that it stands for"
            )


def _texts(backend: str, setting: str, value: Any) -> Tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise unsupported(backend, f"value of {setting}", value, ("a list of names, [] for none",))
    doubled = sorted({name for name in value if list(value).count(name) > 1})
    if doubled:
        raise RunnerError("unsupported", f"{backend}: {setting} names {doubled[0]!r} twice")
    return tuple(value)


def _is_flags(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and bool(name) and _is_scalar(one) for name, one in value.items()
    )


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (str, int, bool))


def _bad_variables(why: str) -> RunnerError:
    return RunnerError("unsupported", f"environment variables: {why}")
