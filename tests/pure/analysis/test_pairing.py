"""In what two cells differ."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.pairing import axes, like

CELL: dict[str, Any] = {
    "model": "m",
    "environment": "e",
    "backend": "b",
    "settings": {"x": 1, "y": 2},
    "precision": "f32",
    "device": "cpu",
    "device_name": "Some CPU",
    "threads": 1,
    "batch": 1,
    "route": "onnx",
    "executor": "venv",
    "checkpoint": {"sha256": "0", "class_offset": 0, "output": "auto"},
    "identity": {
        "environment": "lock 1",
        "feeding": {"normalise": None},
        "pixels": "p",
        "artifact": {"conversion": "c"},
        "runner": "r",
    },
}


def changed(**parts: Any) -> dict[str, Any]:
    inner = {n: {**CELL[n], **parts.pop(n, {})} for n in ("checkpoint", "identity")}
    return {**CELL, **inner, **parts}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (changed(), []),
        (changed(settings={"y": 2, "x": 1}), []),
        (changed(environment="f"), ["environment"]),
        (changed(identity={"environment": "lock 2"}), ["environment"]),
        (changed(identity={"feeding": {"normalise": {"mean": 1}}}), ["recipe"]),
        (changed(identity={"pixels": "q"}), ["recipe"]),
        (changed(checkpoint={"class_offset": 1}), ["class_offset"]),
        (changed(checkpoint={"output": "logits"}), ["output"]),
        (changed(route="onnx>tflite"), ["route"]),
        (changed(identity={"artifact": {"conversion": "d"}}), ["route"]),
        (changed(executor="docker"), ["executor"]),
        (changed(device_name="Other CPU"), ["device"]),
        (changed(identity={"runner": "s"}), ["runner"]),
        (
            changed(checkpoint={"sha256": "1"}, identity={"artifact": {"conversion": "d"}}),
            ["model"],
        ),
        (changed(model="n", threads=2), ["model", "threads"]),
    ],
)
def test_every_difference_has_a_name(other: dict[str, Any], expected: list[str]) -> None:
    assert axes(CELL, other) == axes(other, CELL) == expected


def levelled(level: str, **parts: Any) -> dict[str, Any]:
    settings = {"basic": {"offset": 1}, "default": {}, "extended": {"offset": 0}, "own": {}}[level]
    given = parts.pop("given", {})
    return changed(backend="null", level=level, settings={**settings, **given}, **parts)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (levelled("basic"), levelled("extended"), ["level"]),
        (
            levelled("basic", given={"sleep": 1}),
            levelled("extended", given={"sleep": 1}),
            ["level"],
        ),
        (levelled("basic", given={"sleep": 1}), levelled("extended"), ["level", "settings"]),
        (levelled("default", given={"sleep": 1}), levelled("default"), ["settings"]),
        (levelled("basic"), levelled("own", given={"offset": 5}), ["settings"]),
        (levelled("basic"), {**levelled("own"), "level": None}, ["settings"]),
        (levelled("basic", threads=2), levelled("default"), ["level", "threads"]),
    ],
)
def test_a_level_is_one_axis_whatever_settings_it_stands_for(
    a: dict[str, Any], b: dict[str, Any], expected: list[str]
) -> None:
    assert axes(a, b) == axes(b, a) == expected


def test_what_is_not_known_is_not_held_against_a_cell() -> None:
    listed = {name: value for name, value in CELL.items() if name != "identity"}
    assert axes(CELL, listed) == []


def test_the_same_lock_in_a_container_and_in_a_venv_differs_in_the_executor_alone() -> None:
    venv = changed(lock_sha256="lock", identity={"environment": "venv"})
    image = changed(lock_sha256="lock", identity={"environment": "image"}, executor="docker")
    assert axes(venv, image) == ["executor"]
    other = {**image, "lock_sha256": "another"}
    assert axes(venv, other) == ["environment", "executor"]
    rebuilt = changed(lock_sha256="lock", identity={"environment": "other base"})
    assert axes(venv, rebuilt) == ["environment"]


NEW = {
    **CELL,
    "variant": {"padding": "same"},
    "preprocessing": "reference",
    "prepared_by": "pillow 13",
    "corruption": "fog:3",
    "corrupted_by": "imaging 1",
    "mistake": "none",
    "recipe_key": "tf",
}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        # Other pixels and another normalisation follow from these: they are no axes of their own.
        ({"preprocessing": "opencv", "prepared_by": "e", "identity": {"pixels": "q"}},
         ["preprocessing"]),
        ({"prepared_by": "pillow 14"}, ["preprocessing"]),
        ({"corruption": "blur:3", "identity": {"pixels": "q"}}, ["corruption"]),
        ({"corrupted_by": "imaging 2", "identity": {"pixels": "q"}}, ["corruption"]),
        ({"mistake": "bgr", "identity": {"feeding": {"normalise": {}}}}, ["mistake"]),
        ({"recipe_key": "torch"}, ["recipe"]),
        ({"variant": {"padding": "symmetric"}}, ["variant"]),
        ({"identity": {"pixels": "q"}}, []),
    ],
)  # fmt: skip
def test_what_concerns_inputs_has_names_of_its_own(
    other: dict[str, Any], expected: list[str]
) -> None:
    inner = {"identity": {**CELL["identity"], **other.get("identity", {})}}
    assert axes(NEW, {**NEW, **other, **inner}) == expected


def test_pixels_of_the_same_lock_in_another_place_differ_in_the_executor_alone() -> None:
    venv = {**NEW, "lock_sha256": "lock"}
    image = {**venv, "executor": "docker", "prepared_by": "image", "corrupted_by": "image"}
    assert axes(venv, image) == ["executor"]


CONVERTED = {
    **CELL,
    "route": "keras>onnx:x",
    "way": "way 1",
    "steps": [{"environment": "maker"}],
    "opset": "own",
    "quantisation": "none",
    "folding": "own",
    "layout": "own",
}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"opset": 17}, ["opset"]),
        ({"folding": False, "layout": "nhwc"}, ["folding", "layout"]),
        ({"quantisation": "static"}, ["quantisation"]),
        # A step that is there for an axis is no other route, though the way is longer.
        (
            {
                "route": "keras>onnx:x>onnx:quantise",
                "way": "way 2",
                "quantisation": "static",
                "steps": [{"environment": "maker"}, {"environment": "other"}],
            },
            ["quantisation"],
        ),
        ({"route": "keras>onnx:y", "way": "way 2"}, ["route"]),
        ({"steps": [{"environment": "other"}], "way": "way 2"}, ["route"]),
        ({"way": "way 2"}, ["route"]),
        # Old stores do not know what was asked.
        ({"opset": None, "quantisation": None, "folding": None, "layout": None}, []),
    ],
)
def test_what_is_asked_of_conversions_are_axes_of_their_own(
    other: dict[str, Any], expected: list[str]
) -> None:
    changed_cell = {**CONVERTED, **other}
    assert axes(CONVERTED, changed_cell) == axes(changed_cell, CONVERTED) == expected


def test_cells_of_old_stores_are_like_those_that_asked_for_nothing() -> None:
    names = ("route", "opset", "quantisation", "folding", "layout")
    old = {"route": CONVERTED["route"]}
    assert like(old, names) == like(CONVERTED, names)
    assert like({**CONVERTED, "quantisation": "static"}, names) != like(old, names)
