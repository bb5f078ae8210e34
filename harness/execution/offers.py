"""What a backend said that it can be asked for, held against a cell before anything is converted."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from harness.plan.cells import Cell


def refusal(cell: Cell, probe: Mapping[str, Any]) -> str | None:
    """Why a cell asks for what its backend does not offer; None where it may be tried.

    The backend itself has the last word; this only saves what comes before it is asked.

    Args:
        cell: what is asked for.
        probe: the environment's probe event, which comes from inside it and may say anything.
    """
    backends = probe.get("backends")
    one = backends.get(cell.backend) if isinstance(backends, Mapping) else None
    offer = one.get("offer") if isinstance(one, Mapping) else None
    if not isinstance(offer, Mapping):
        return None
    settings = offer.get("settings")
    if not isinstance(settings, Mapping):
        return None
    for name, value in cell.settings.items():
        if name not in settings:
            close = difflib.get_close_matches(name, [str(one) for one in settings], n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            known = ", ".join(map(str, settings)) or "none"
            return f"{cell.backend} has no setting {name} (it has: {known}){hint}"
        values = settings[name]
        if isinstance(values, list) and not any(
            value == one and type(value) is type(one) for one in values
        ):
            known = ", ".join(map(str, values))
            return f"{cell.backend} has no {name}={value} (it has: {known})"
    return None
