"""Inputs that are made on the spot are what the model takes, and the same in every call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.execution.convert_inputs import given, noise
from harness.models.model_file import TensorSpec
from harness.models.registry import find_checkpoint


def drawn(dtype: str, scale: float | None = None, zero_point: int | None = None) -> np.ndarray:
    return noise(TensorSpec("x", dtype, (1, 5000), scale, zero_point), (4, 5000))


def test_floats_are_standard_normal_and_always_the_same() -> None:
    values = drawn("float32")
    assert values.dtype == np.float32
    assert abs(float(values.mean())) < 0.05
    assert abs(float(values.std()) - 1) < 0.05
    np.testing.assert_array_equal(values, drawn("float32"))


def test_pixels_take_their_whole_range() -> None:
    for dtype, least, most in (("uint8", 0, 255), ("int8", -128, 127)):
        values = drawn(dtype)
        assert (values.dtype, values.min(), values.max()) == (np.dtype(dtype), least, most)


def test_quantised_inputs_are_the_numbers_that_they_stand_for() -> None:
    values = drawn("uint8", scale=0.5, zero_point=100)
    assert values.dtype == np.float32
    assert (values.min(), values.max()) == (-50, 77.5)


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_what_may_be_an_index_is_zero_or_one(dtype: str) -> None:
    values = drawn(dtype)
    assert values.dtype == np.dtype(dtype)
    assert set(np.unique(values).tolist()) == {0, 1}


def test_weights_that_are_fitted_on_images_get_all_that_were_given(tmp_path: Path) -> None:
    seeded = find_checkpoint("resnet50@seeded")
    for known, limit, found in ((seeded, None, None), (seeded, 9, 9), (None, None, 4)):
        feeding = given(known, tmp_path, None, limit, 4)
        assert feeding is not None
        assert feeding.document["data"].get("limit") == found
    assert given(None, None, None, None, 4) is None
    volume = given(None, Path("volume:V/val"), None, None, 4)
    assert volume is not None
    assert volume.document["data"]["path"] == "volume:V/val"
