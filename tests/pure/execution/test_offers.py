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
        },
        "tvm": {
            "offer": {
                "settings": {},
                "names": {"disabled_passes": ["FuseOps", "FuseTIR", "FoldConstant", "DCE"]},
                "free": {"trials": "integer"},
            }
        },
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
        (
            {"level": "basic"},
            "tflite has no setting level (it has: kernels, fast); level is an axis of its own, "
            "beside the settings",
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


def of_tvm(settings: dict[str, Any]) -> str | None:
    return refusal(cast("Cell", SimpleNamespace(backend="tvm", settings=settings)), PROBE)


def test_lists_of_names_free_values_and_variables_may_be_tried() -> None:
    assert of_tvm({"disabled_passes": ["FuseTIR", "FuseOps"], "trials": 64}) is None
    assert of_tvm({"disabled_passes": []}) is None
    assert of_tvm({"variables": {"TVM_LOG_DEBUG": "1"}}) is None
    assert refused({"variables": {"TVM_LOG_DEBUG": "1"}}, {}) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"disabled_passes": ["FuseOp"]},
            "tvm's disabled_passes has no 'FuseOp' (it knows 4, such as FuseOps, FuseTIR, "
            "FoldConstant); did you mean FuseOps?",
        ),
        ({"disabled_passes": ["DCE", "DCE"]}, "tvm's disabled_passes names 'DCE' twice"),
        (
            {"disabled_passes": "DCE"},
            "tvm's disabled_passes is a list of names ([] for none), not 'DCE'",
        ),
        (
            {"passes": []},
            "tvm has no setting passes (it has: disabled_passes, trials)",
        ),
        (
            {"variables": {"LD_PRELOAD": "x"}},
            "the variable LD_PRELOAD says where a worker finds its parts and cannot be set",
        ),
    ],
)
def test_a_name_that_a_library_might_ignore_in_silence_is_told(
    settings: dict[str, Any], said: str
) -> None:
    assert of_tvm(settings) == said


def test_variables_are_held_to_their_rules_where_no_probe_says_anything() -> None:
    assert refused({"variables": ["A=1"]}, {}) == (
        "variables is a mapping of NAME to text, not ['A=1']"
    )
