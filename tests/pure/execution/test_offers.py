"""A setting that no backend has is told before anything is converted for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.execution.offers import refusal
from harness.plan.cells import Cell

PROBE = {
    "backends": {
        "tflite": {
            "offer": {"settings": {"kernels": ["xnnpack", "builtin"], "fast": [True, False]}}
        }
    }
}


def refused(settings: dict[str, Any], probe: Any = PROBE) -> str | None:
    return refusal(cast("Cell", SimpleNamespace(backend="tflite", settings=settings)), probe)


def test_what_is_offered_may_be_tried() -> None:
    assert refused({}) is None
    assert refused({"kernels": "builtin", "fast": False}) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"kernel": "builtin"},
            "tflite has no setting kernel (it has: kernels, fast); did you mean kernels?",
        ),
        ({"kernels": "fastest"}, "tflite has no kernels=fastest (it has: xnnpack, builtin)"),
        ({"fast": 1}, "tflite has no fast=1 (it has: True, False)"),
    ],
)
def test_what_is_not_offered_is_told_with_what_is(settings: dict[str, Any], said: str) -> None:
    assert refused(settings) == said


@pytest.mark.parametrize(
    "probe", [{}, {"backends": None}, {"backends": {"tflite": {"offer": None}}}]
)
def test_where_nothing_was_said_the_backend_has_the_word(probe: Any) -> None:
    assert refused({"kernels": "fastest"}, probe) is None
