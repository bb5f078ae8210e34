"""One image as a cell is fed it: the runner's own function is what it is held against."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.errors import UsageError
from harness.plan.feeds import CellInputs
from harness.studies.model_input import input_row
from runner import inputs as runner_inputs
from runner.backends.base import TensorSpec
from runner.jobs import Inputs, Normalise

TORCH = {
    "channels": "rgb",
    "divide": 255.0,
    "subtract": [0.485, 0.456, 0.406],
    "divide_after": [0.229, 0.224, 0.225],
}
CAFFE = {
    "channels": "bgr",
    "divide": 1.0,
    "subtract": [103.939, 116.779, 123.68],
    "divide_after": 1.0,
}


def _cell_inputs(kind="pixels", **more):
    fields = {"normalise": None, "layout": None, "raw_quantised": False, **more}
    return CellInputs("p", "i", kind, **fields)


@pytest.fixture
def pixels(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", rows)
    return SimpleNamespace(path=tmp_path / "x.npy", rows=rows)


@pytest.mark.parametrize("normalise", [TORCH, CAFFE, None])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("swap_sides", [False, True])
def test_pixels_become_the_bits_that_the_runner_makes(pixels, normalise, layout, swap_sides):
    fed = input_row(
        _cell_inputs(normalise=normalise, layout=layout, swap_sides=swap_sides), pixels, 2
    )
    how = normalise and Normalise(
        **{n: tuple(v) if isinstance(v, list) else v for n, v in normalise.items()}
    )
    job = Inputs("pixels", "", 4, how, layout, swap_sides=swap_sides)
    spec = TensorSpec("x", "float32", None)
    np.testing.assert_array_equal(fed, runner_inputs.prepare(pixels.rows[2:3], job, spec))
    assert fed.flags.c_contiguous


def test_a_row_of_an_array_is_fed_as_it_is(pixels):
    np.testing.assert_array_equal(input_row(_cell_inputs("array"), pixels, 1), pixels.rows[1:2])


def test_integers_fed_to_a_quantised_model_are_refused(pixels):
    with pytest.raises(UsageError, match="fed integers"):
        input_row(_cell_inputs(raw_quantised=True), pixels, 0)
