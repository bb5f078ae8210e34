"""How a request is refused that a backend can't fulfil: what was asked, and what there is."""

from __future__ import annotations

import difflib
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from runner.errors import RunnerError

_SHOWN = 12


def unsupported(
    backend: str, what: str, asked: Any, allowed: Tuple[Any, ...], why: str = ""
) -> RunnerError:
    """The refusal of a request: what was asked, what would be accepted, and why so."""
    choices = ", ".join(str(option) for option in allowed) or "none"
    reason = f": {why}" if why else ""
    message = f"{backend} does not support the {what} {asked!r} (it supports: {choices}){reason}"
    return RunnerError("unsupported", message)


def unknown_name(backend: str, setting: str, asked: str, there: Sequence[str]) -> RunnerError:
    """The refusal of a name that is none of many: the near ones, and how many there are."""
    near = difflib.get_close_matches(asked, there, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    if not there:
        known = "this version has none"
    elif len(there) <= _SHOWN:
        known = f"it knows: {', '.join(there)}"
    else:
        known = f"it knows {len(there)}, such as {', '.join(there[:3])}"
    return RunnerError("unsupported", f"{backend}: {setting} has no {asked!r}; {hint}{known}")


def without_dashes(
    backend: str, setting: str, given: Optional[Mapping[str, Any]]
) -> Dict[str, Any]:
    """Flags by their bare names, whether they were given as `--name` or as `name`.

    Raises:
        RunnerError: kind `unsupported`, where one was given in both ways.
    """
    named: Dict[str, Any] = {}
    for written, value in (given or {}).items():
        name = str(written).lstrip("-")
        if name in named:
            raise RunnerError(
                "unsupported", f"{backend}: {setting} gives {name!r} twice; once is enough"
            )
        named[name] = value
    return named
