"""How preprocessing and corruption are written."""

from __future__ import annotations

from typing import get_args

import pytest

from harness.datasets.layouts import LAYOUTS
from harness.errors import SpecError
from harness.spec.feeding import (
    Corruptor,
    canonical_corruption,
    canonical_preprocessing,
    parse_corruption,
    parse_preprocessing,
)
from harness.spec.load import check_spec
from harness.spec.models import DataLayout


def test_settings_are_typed_and_written_in_one_order() -> None:
    found = parse_preprocessing("tensorflow, dct=accurate,antialias=true ,n=3,x=0.5")
    assert found.name == "tensorflow"
    assert found.settings == {"dct": "accurate", "antialias": True, "n": 3, "x": 0.5}
    assert found.text == "tensorflow,antialias=true,dct=accurate,n=3,x=0.5"
    assert canonical_preprocessing(found.text) == found.text


@pytest.mark.parametrize(
    "text", ["", "tensorflow,dct", "tensorflow,dct=", "tensorflow,a=1,a=2", "re ference", "A"]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|no setting"):
        parse_preprocessing(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("opencv,x=2.0", "opencv,x=2"),
        ("opencv,x=2e0", "opencv,x=2"),
        ("opencv,x=-0.0", "opencv,x=0"),
        ("opencv,x=0.50", "opencv,x=0.5"),
        ("opencv,x=1e300", "opencv,x=1e+300"),
    ],
)
def test_a_number_is_written_in_one_way(text: str, canonical: str) -> None:
    assert canonical_preprocessing(text) == canonical
    assert canonical_preprocessing(canonical) == canonical


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=f"setting x is {value}: a number has to be finite"):
        parse_preprocessing(f"opencv,x={value}")
    document = {**spec(path="m.onnx"), "axes": {"preprocessing": [f"opencv,x={value}"]}}
    with pytest.raises(SpecError, match=r"axes.preprocessing\[0\].*finite"):
        check_spec(document, "t")


def test_reference_pixels_have_no_settings() -> None:
    with pytest.raises(ValueError, match="reference has no settings"):
        parse_preprocessing("reference,dct=fast")


def test_a_corruption_has_a_severity() -> None:
    assert parse_corruption("none") is None
    assert parse_corruption("gaussian_noise:5") == Corruptor("gaussian_noise", 5)
    assert canonical_corruption("gaussian_noise") == "gaussian_noise:3"
    for text in ("gaussian_noise:0", "gaussian_noise:6", "gaussian_noise:", "noise:1.5", ":1"):
        with pytest.raises(ValueError, match="severity from 1 to 5"):
            parse_corruption(text)


def spec(**model: object) -> dict[str, object]:
    return {"models": [model], "data": {"path": "d"}, "environments": ["e"]}


def test_a_model_is_a_file_or_a_name_and_not_both() -> None:
    assert check_spec(spec(checkpoint="mobilenet_v2@keras"), "t").models[0].path is None
    for model in ({}, {"path": "m.onnx", "checkpoint": "m"}):
        with pytest.raises(SpecError, match="exactly one of `path`"):
            check_spec(spec(**model), "t")


def test_a_spec_may_ask_for_every_layout_that_is_read() -> None:
    assert set(get_args(DataLayout)) == set(LAYOUTS)


def test_axes_of_inputs_are_told_with_their_place() -> None:
    with pytest.raises(SpecError, match=r"axes.mistake\[0\].*bgr"):
        check_spec({**spec(path="m.onnx"), "axes": {"mistake": ["brg"]}}, "t")
    with pytest.raises(SpecError, match=r"axes.corruption\[0\].*severity"):
        check_spec({**spec(path="m.onnx"), "axes": {"corruption": ["blur:9"]}}, "t")
