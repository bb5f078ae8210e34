"""From a sweep of many cells to the sweep of one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.spec.load import check_spec
from harness.studies.question import Question, Side, _alone, entry, only_settings

CELL = {
    "model": "second",
    "environment": "onnxruntime-1.31",
    "backend": "onnxruntime",
    "executor": "venv",
    "device": "cpu",
    "batch": 1,
    "threads": 2,
    "precision": "default",
    "instruction_set": "own",
    "preprocessing": "reference",
    "corruption": "gaussian_noise:3",
    "mistake": "none",
    "route": "keras>onnx:tf2onnx>onnx:opset",
    "opset": 17,
    "quantisation": "none",
    "folding": "own",
    "layout": "own",
    "settings": {"graph_optimization_level": "all"},
}


def _spec(**more):
    return check_spec(
        {
            "models": [
                {"path": "/m/first.keras", "recipe": "tf"},
                {"path": "/m/second.keras", "recipe": "tf", "class_offset": 1},
            ],
            "data": {"path": "/images", "limit": 50},
            "environments": [
                "tvm-0.27",
                {"name": "onnxruntime-1.31", "settings": [{}, {"arena": False}]},
            ],
            "axes": {
                "threads": [1, 2],
                "precision": ["f32", "default"],
                "corruption": ["none", "gaussian_noise:3"],
                "route": ["all"],
                "opset": ["own", 17],
                "level": ["basic", "default"],
            },
            "baseline": "tvm-0.27",
            **more,
        },
        "test",
    )


def test_the_sweep_of_one_cell_names_its_model_environment_and_point_of_each_axis():
    alone = _alone(_spec(), CELL)
    assert [model.path for model in alone.models] == [Path("/m/second.keras")]
    assert alone.models[0].class_offset == 1
    assert [one.names for one in alone.environments] == [("onnxruntime-1.31",)]
    assert alone.environments[0].backends == ("onnxruntime",)
    assert alone.environments[0].settings is None
    axes = alone.axes
    assert (axes.threads, axes.precision, axes.corruption) == (
        (2,),
        ("default",),
        ("gaussian_noise:3",),
    )
    assert (axes.opset, axes.level) == ((17,), ("own",))
    assert alone.executor == ("venv",)
    assert (alone.data.limit, alone.baseline) == (50, None)


def test_limits_that_nobody_set_are_not_said_to_be_set():
    kept = check_spec(_spec(limits={"timeout_seconds": 60}).model_dump(mode="json"), "kept")
    assert _alone(kept, CELL).limits.model_fields_set == {"timeout_seconds"}


def test_a_side_is_swept_with_its_own_settings():
    alone = entry(_alone(_spec(), CELL), CELL["settings"])
    assert alone.environments[0].settings == (CELL["settings"],)


def test_wishes_are_what_was_asked_of_conversions_and_not_what_was_left_alone():
    side = Side("k", "label", CELL, _spec())
    assert side.wishes == {"opset": 17}


def test_a_model_that_its_sweep_calls_otherwise_is_refused():
    with pytest.raises(UsageError, match="Which model"):
        _alone(_spec(), {**CELL, "model": "third"})


def test_between_cells_of_several_environments_there_is_no_way_of_settings():
    side = Side("k", "label", CELL, _spec())
    only_settings(Question(side, side, ("settings", "level")))
    with pytest.raises(UsageError, match="differ in environment, precision") as caught:
        only_settings(Question(side, side, ("environment", "settings", "precision")))
    assert "bisect operators" in caught.value.remedy


def test_cells_of_two_models_are_refused_by_their_names():
    side = Side("k", "first", CELL, _spec())
    other = Side("l", "second", {**CELL, "model": "another"}, _spec())
    with pytest.raises(UsageError, match="second one of another") as caught:
        only_settings(Question(side, other, ("model", "recipe", "settings")))
    assert "bisect operators" not in caught.value.remedy
