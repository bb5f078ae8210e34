"""Mistakes that are made on purpose: what each changes of how a model is fed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.models.checkpoint import InputPlan
from harness.spec.feeding import NONE

SQUASHED = "squashed"
_UNIT_RANGE = {"divide": 255.0, "subtract": [0.0] * 3, "divide_after": [1.0] * 3}

Change = dict[str, Any]
"""Fields of `CellInputs`."""


def changed_by(mistake: str, plan: InputPlan, output: str) -> Change | str:
    """What a mistake changes of `CellInputs`; a text says why it would change nothing.

    `squashed` changes nothing here: it makes other pixels.

    Args:
        mistake: as a sweep names it.
        plan: how the model is fed rightly.
        output: what its scores are said to be.
    """
    return _MISTAKES[mistake](plan, output)


def _nothing(_plan: InputPlan, _output: str) -> Change | str:
    return {}


def _bgr(plan: InputPlan, _output: str) -> Change | str:
    channels = "rgb" if plan.normalise["channels"] == "bgr" else "bgr"
    return {"normalise": {**plan.normalise, "channels": channels}}


def _no_mean(plan: InputPlan, _output: str) -> Change | str:
    if not any(plan.normalise["subtract"]):
        return "its recipe takes no mean off"
    return {"normalise": {**plan.normalise, "subtract": [0.0, 0.0, 0.0]}}


def _unit_range(plan: InputPlan, _output: str) -> Change | str:
    changed = {**plan.normalise, **_UNIT_RANGE}
    if changed == plan.normalise:
        return "its recipe gives 0 to 1 anyway"
    return {"normalise": changed, "raw_quantised": False}


def _transposed(plan: InputPlan, _output: str) -> Change | str:
    if plan.height != plan.width:
        return f"its input is {plan.height} x {plan.width}: exchanged sides would not fit"
    return {"swap_sides": True}


def _double_softmax(_plan: InputPlan, output: str) -> Change | str:
    return "its outputs are no class scores" if output == "values" else {"softmax": True}


_MISTAKES: dict[str, Callable[[InputPlan, str], Change | str]] = {
    NONE: _nothing,
    SQUASHED: _nothing,
    "bgr": _bgr,
    "no-mean": _no_mean,
    "unit-range": _unit_range,
    "transposed": _transposed,
    "double-softmax": _double_softmax,
}
