"""From rows to model inputs: exact values, layouts, dtypes and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runner.backends.base import TensorSpec
from runner.errors import RunnerError
from runner.inputs import check_fit, dequantise, fed_item_shape, normalise, open_rows, prepare
from runner.jobs import Inputs, Normalise

TORCH = Normalise("rgb", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = Normalise("bgr", 1.0, (103.939, 116.779, 123.68), 1.0)
ROWS = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)


def pixels(how: Normalise | None, layout: str | None = "NHWC", raw: bool = False) -> Inputs:
    return Inputs("pixels", "x.npy", 2, how, layout, raw)


def spec(dtype: str, scale: float | None = None, zero_point: int | None = None) -> TensorSpec:
    return TensorSpec("x", dtype, None, scale, zero_point)


def test_every_step_is_one_float32_operation_in_order() -> None:
    expected = np.empty(ROWS.shape, np.float32)
    for channel in range(3):
        for index in np.ndindex(ROWS.shape[:3]):
            value = np.float32(ROWS[(*index, channel)]) / np.float32(255.0)
            value = np.float32(value - np.float32(TORCH.subtract[channel]))
            expected[(*index, channel)] = value / np.float32(TORCH.divide_after[channel])
    got = prepare(ROWS, pixels(TORCH), spec("float32"))
    assert got.dtype == np.float32
    assert (got == expected).all()


def test_channels_are_swapped_before_the_mean_is_subtracted() -> None:
    got = normalise(ROWS, CAFFE)
    assert got[0, 0, 0, 0] == np.float32(2) - np.float32(103.939)
    assert got[0, 0, 0, 2] == np.float32(0) - np.float32(123.68)
    assert (ROWS[0, 0, 0] == [0, 1, 2]).all()


def test_nchw_is_a_contiguous_transposition() -> None:
    wide = prepare(ROWS, pixels(TORCH, "NCHW"), spec("float32"))
    deep = prepare(ROWS, pixels(TORCH, "NHWC"), spec("float32"))
    assert wide.shape == (2, 3, 4, 5)
    assert wide.flags.c_contiguous
    assert (wide.transpose(0, 2, 3, 1) == deep).all()
    assert fed_item_shape(pixels(TORCH, "NCHW"), ROWS) == (3, 4, 5)
    assert fed_item_shape(pixels(TORCH, None), ROWS) == (4, 5, 3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_normalised_in_float32_then_cast(dtype: str) -> None:
    got = prepare(ROWS, pixels(TORCH), spec(dtype))
    assert got.dtype == dtype
    assert (got == normalise(ROWS, TORCH).astype(dtype)).all()


def test_raw_pixels_go_straight_into_integer_inputs() -> None:
    quantised = spec("uint8", 1 / 127.5, 127)
    assert (prepare(ROWS, pixels(None, raw=True), quantised) == ROWS).all()
    shifted = prepare(ROWS, pixels(None, raw=True), spec("int8", 0.1, 3))
    assert shifted.dtype == np.int8
    assert (shifted.astype(int) == ROWS.astype(int) - 128).all()


def test_pixels_that_a_recipe_puts_on_halves_stay_as_they_are() -> None:
    """`tf` into an input of scale 1/127.5 and zero point 127: x - 0.5, for every x."""
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1).repeat(3, axis=3)
    got = prepare(every, pixels(Normalise("rgb", 127.5, 1.0, 1.0)), spec("uint8", 1 / 127.5, 127))
    assert (got == every).all()


def test_real_values_are_quantised_by_scale_and_zero_point_and_clipped() -> None:
    rows = np.array([0, 100, 255], np.uint8).reshape(1, 1, 1, 3)
    how = Normalise("rgb", 127.5, 1.0, 1.0)
    got = prepare(rows, pixels(how), spec("uint8", 1 / 128, 128))
    assert got.ravel().tolist() == [0, 100, 255]
    got = prepare(rows, pixels(how), spec("int8", 0.001, 0))
    assert got.ravel().tolist() == [-128, -128, 127]


def test_integer_input_without_a_scale_refuses_real_values() -> None:
    with pytest.raises(RunnerError, match="recipe raw"):
        prepare(ROWS, pixels(TORCH), spec("uint8"))


def test_arrays_are_fed_as_they_are_and_cast_only_without_loss_of_range() -> None:
    array = Inputs("array", "x.npy", 2, layout="NCHW")
    values = np.array([[1, 2], [3, 400]], np.int64)
    assert fed_item_shape(array, values) == (2,)
    assert prepare(values, array, spec("float32")).tolist() == [[1.0, 2.0], [3.0, 400.0]]
    assert prepare(values, array, spec("int32")).dtype == np.int32
    with pytest.raises(RunnerError, match="int8"):
        prepare(values, array, spec("int8"))
    with pytest.raises(RunnerError, match="float32"):
        prepare(values.astype(np.float32), array, spec("int64"))


def test_a_batch_is_never_a_view_of_the_mapped_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 2), np.float32))
    array = Inputs("array", str(tmp_path / "x.npy"), 3)
    batch = prepare(open_rows(array)[:1], array, spec("float32"))
    assert type(batch) is np.ndarray
    assert batch.flags.owndata
    assert batch.flags.writeable


def test_dequantise_is_the_inverse_of_storage() -> None:
    stored = np.array([0, 127, 255], np.uint8)
    got = dequantise(stored, spec("uint8", 0.5, 127))
    assert got.dtype == np.float32
    assert got.tolist() == [-63.5, 0.0, 64.0]
    assert dequantise(stored, spec("uint8")).dtype == np.uint8
    assert dequantise(np.array([True]), spec("bool")).tolist() == [1]
    assert dequantise(np.array([1.0], np.float64), spec("float64")).dtype == np.float32
    with pytest.raises(RunnerError, match="only numbers"):
        dequantise(np.array(["cat"]), spec("str"))


def test_fit_says_how_to_mend_a_fixed_batch() -> None:
    fixed = TensorSpec("x", "float32", (1, 3, 224, 224))
    check_fit(fixed, (3, 224, 224), 1)
    with pytest.raises(RunnerError, match="ask for batch 1, or export"):
        check_fit(fixed, (3, 224, 224), 4)
    with pytest.raises(RunnerError, match=r"takes \[1, 3, 224, 224\] and the cell feeds \[1, 224,"):
        check_fit(fixed, (224, 224, 3), 1)
    with pytest.raises(RunnerError, match="feeds"):
        check_fit(fixed, (3,), 1)
    check_fit(TensorSpec("x", "float32", (None, 3, None, None)), (3, 7, 9), 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "can't be read"),
        (b"not numpy at all", "can't be read"),
        (np.zeros((2, 4, 5, 3), np.uint8), "hold 2 rows and the job names 3"),
        (np.zeros((3, 4, 5), np.uint8), "pixels must be"),
        (np.zeros((3, 4, 5, 3), np.int32), "pixels must be"),
        (np.float32(3), "no array of rows"),
    ],
)
def test_files_that_are_not_the_inputs_are_refused(
    tmp_path: Path, content: bytes | np.ndarray, words: str
) -> None:
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(RunnerError, match=words) as caught:
        open_rows(Inputs("pixels", str(path), 3))
    assert caught.value.kind == "job"


def test_pickled_and_absent_inputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True)
    for named in (path, tmp_path / "absent.npy"):
        with pytest.raises(RunnerError, match="can't be read"):
            open_rows(Inputs("array", str(named), 1))


def test_axes_turn_the_inputs_of_a_converted_model_in_the_end() -> None:
    axes = (0, 2, 3, 1)
    straight = prepare(ROWS, pixels(TORCH, "NHWC"), spec("float32"))
    turned = prepare(ROWS, pixels(TORCH, "NCHW"), spec("float32"), axes)
    assert turned.flags.c_contiguous
    assert (turned == straight).all()
    assert fed_item_shape(pixels(TORCH, "NCHW"), ROWS, axes) == (4, 5, 3)
    array = Inputs("array", "x.npy", 2)
    assert fed_item_shape(array, ROWS, (0, 3, 1, 2)) == (3, 4, 5)
    assert prepare(ROWS, array, spec("uint8"), (0, 3, 1, 2)).shape == (2, 3, 4, 5)


def test_axes_of_another_rank_are_refused() -> None:
    with pytest.raises(RunnerError, match="takes inputs of 2 dimensions and the cell feeds 4"):
        fed_item_shape(Inputs("array", "x.npy", 2), ROWS, (0, 1))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_swapped_sides_are_fed_with_rows_as_columns(layout: str) -> None:
    straight, swapped = pixels(TORCH, layout), replace(pixels(TORCH, layout), swap_sides=True)
    rows, columns = (1, 2) if layout == "NHWC" else (2, 3)
    fed = prepare(ROWS, swapped, spec("float32"))
    assert fed.shape == ((2, 5, 4, 3) if layout == "NHWC" else (2, 3, 5, 4))
    assert fed.shape[1:] == fed_item_shape(swapped, ROWS)
    assert (fed == prepare(ROWS, straight, spec("float32")).swapaxes(rows, columns)).all()
    assert fed.flags.c_contiguous
    # A pixel by its place: the second row's third column becomes the third row's second.
    raw = prepare(ROWS, replace(pixels(None, raw=True), swap_sides=True), spec("uint8", 1.0, 0))
    assert raw[1, 2, 1].tolist() == ROWS[1, 1, 2].tolist() != ROWS[1, 2, 1].tolist()


def test_the_sides_of_an_array_are_never_swapped() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    array = replace(Inputs("array", "x.npy", 2), swap_sides=True)
    assert fed_item_shape(array, values) == (3,)
    assert prepare(values, array, spec("float32")).tolist() == values.tolist()


def test_an_archive_of_arrays_is_no_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", w=np.zeros((3, 4)))
    with pytest.raises(RunnerError, match="an archive") as caught:
        open_rows(Inputs("array", str(tmp_path / "x.npz"), 3))
    assert caught.value.kind == "job"
