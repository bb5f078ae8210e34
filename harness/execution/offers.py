"""What a backend said that it can be asked for, held against a cell before anything is converted."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.environments.variables import VARIABLES, fault_of_variables
from harness.plan.cells import Cell
from harness.spec.axes import Axes

_AXIS = "; {} is an axis of its own, beside the settings"


def refusal(cell: Cell, probe: Mapping[str, Any]) -> str | None:
    """Why a cell asks for what its backend does not offer; None where it may be tried.

    The backend itself has the last word; this only saves what comes before it is asked.

    Args:
        cell: what is asked for.
        probe: the environment's probe event, which comes from inside it and may say anything.
    """
    own = {name: value for name, value in cell.settings.items() if name != VARIABLES}
    if VARIABLES in cell.settings and (why := fault_of_variables(cell.settings[VARIABLES])):
        return why
    backends = probe.get("backends")
    one = backends.get(cell.backend) if isinstance(backends, Mapping) else None
    offer = one.get("offer") if isinstance(one, Mapping) else None
    if not isinstance(offer, Mapping):
        return None
    return _not_offered(cell.backend, own, offer)


def _not_offered(backend: str, asked: Mapping[str, Any], offer: Mapping[str, Any]) -> str | None:
    """Which of the settings are not offered, with what is."""
    settings = offer.get("settings")
    if not isinstance(settings, Mapping):
        return None
    names, free = (
        found if isinstance(found, Mapping) else {}
        for found in (offer.get("names"), offer.get("free"))
    )
    there = [str(one) for one in (*settings, *names, *free)]
    for name, value in asked.items():
        if name in names:
            if why := _unlisted(backend, name, value, names[name]):
                return why
        elif name not in there:
            known = ", ".join(there) or "none"
            hint = _AXIS.format(name) if name in Axes.model_fields else _near(name, there)
            return f"{backend} has no setting {name} (it has: {known}){hint}"
        elif name in settings and (why := _unchosen(backend, name, value, settings[name])):
            return why
    return None


def _unchosen(backend: str, name: str, value: Any, values: Any) -> str | None:
    """Why a value is none of a setting's choices."""
    if not isinstance(values, list):
        return None
    if any(value == one and type(value) is type(one) for one in values):
        return None
    return f"{backend} has no {name}={value} (it has: {', '.join(map(str, values))})"


def _unlisted(backend: str, name: str, value: Any, known: Any) -> str | None:
    """Why a value is no list of names that are known: a library may ignore the others in silence."""
    if value is None or not isinstance(known, list):
        return None
    if not isinstance(value, list | tuple):
        return f"{backend}'s {name} is a list of names ([] for none), not {value!r}"
    for one in value:
        if one not in known:
            few = f", such as {', '.join(map(str, known[:3]))}" if known else ""
            return (
                f"{backend}'s {name} has no {one!r} (it knows {len(known)}{few}){_near(one, known)}"
            )
        if list(value).count(one) > 1:
            return f"{backend}'s {name} names {one!r} twice"
    return None


def _near(name: object, known: Sequence[Any]) -> str:
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""
