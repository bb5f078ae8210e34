"""Mistakes on purpose: what each changes, and where it would change nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.datasets.recipes import load_recipe, normalisation
from harness.execution.mistakes import changed_by
from harness.models.checkpoint import InputPlan


def plan(recipe: str = "tf", **changes: Any) -> InputPlan:
    made = InputPlan(
        name="x",
        height=224,
        width=224,
        layout="NCHW",
        dtype="float32",
        batch=None,
        scale=None,
        zero_point=None,
        raw_quantised=False,
        normalise=normalisation(load_recipe(recipe)),
    )
    return replace(made, **changes)


def test_each_mistake_changes_what_its_name_says() -> None:
    tf = normalisation(load_recipe("tf"))
    assert changed_by("none", plan(), "auto") == {}
    assert changed_by("squashed", plan(), "auto") == {}
    assert changed_by("bgr", plan(), "auto") == {"normalise": {**tf, "channels": "bgr"}}
    assert changed_by("bgr", plan("caffe"), "auto") == {
        "normalise": {**normalisation(load_recipe("caffe")), "channels": "rgb"}
    }
    assert changed_by("no-mean", plan(), "auto") == {"normalise": {**tf, "subtract": [0.0] * 3}}
    assert changed_by("transposed", plan(), "auto") == {"swap_sides": True}
    assert changed_by("double-softmax", plan(), "auto") == {"softmax": True}
    unit = {"channels": "rgb", "divide": 255.0, "subtract": [0.0] * 3, "divide_after": [1.0] * 3}
    raw = plan("raw", raw_quantised=True)
    assert changed_by("unit-range", raw, "auto") == {"normalise": unit, "raw_quantised": False}


@pytest.mark.parametrize(
    ("mistake", "fed", "output", "why"),
    [
        ("no-mean", plan("raw"), "auto", "takes no mean off"),
        ("transposed", plan(width=192), "auto", "224 x 192"),
        ("double-softmax", plan(), "values", "no class scores"),
    ],
)
def test_a_mistake_that_would_change_nothing_says_so(
    mistake: str, fed: InputPlan, output: str, why: str
) -> None:
    found = changed_by(mistake, fed, output)
    assert isinstance(found, str)
    assert why in found
