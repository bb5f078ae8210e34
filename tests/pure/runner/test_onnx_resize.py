"""Which old values ONNX's Resize takes for a new one: by its formulas, in ONNX Runtime's float32."""

from __future__ import annotations

import numpy as np
import pytest

from runner.support.onnx_resize import Rules, Target, targets


def target(size: int, wanted: int, scale: float | None = None) -> Target:
    return Target(size, wanted, np.float32(wanted / size if scale is None else scale))


def places(each: Target, how: str) -> list[float]:
    positions: list[float] = each.positions(Rules("linear", how, "floor")).tolist()
    return positions


def test_positions_are_those_of_onnxs_formulas() -> None:
    assert places(target(3, 6), "half_pixel") == [-0.25, 0.25, 0.75, 1.25, 1.75, 2.25]
    assert places(target(3, 6), "asymmetric") == [0, 0.5, 1, 1.5, 2, 2.5]
    assert places(target(3, 5), "align_corners") == [0, 0.5, 1, 1.5, 2]
    assert places(target(3, 1), "pytorch_half_pixel") == [0]
    # 5 * 0.5 is 2.5, of which 2 are made: what is left is half on either side.
    assert places(target(5, 2, 0.5), "half_pixel_symmetric") == [1, 3]
    with pytest.raises(ValueError, match="'tf_crop_and_resize'"):
        places(target(3, 6), "tf_crop_and_resize")


@pytest.mark.parametrize(
    ("rounding", "chosen"),
    [
        ("round_prefer_floor", [0, 0, 1, 1, 2, 2]),
        ("round_prefer_ceil", [0, 1, 1, 2, 2, 2]),
        ("floor", [0, 0, 1, 1, 2, 2]),
        ("ceil", [0, 1, 1, 2, 2, 2]),
    ],
)
def test_each_rounding_takes_its_own_element(rounding: str, chosen: list[int]) -> None:
    rules = Rules("nearest", "asymmetric", rounding)
    assert target(3, 6).nearest(rules).tolist() == chosen


def test_what_is_a_half_but_for_rounding_is_a_half() -> None:
    each = Target(10, 24, np.float32(2.4))
    rules = Rules("nearest", "asymmetric", "round_prefer_ceil")
    assert each.positions(rules)[18] < 7.5
    assert each.nearest(rules)[18] == 8


def test_a_rounding_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="'up'"):
        target(3, 6).nearest(Rules("nearest", "asymmetric", "up"))


def test_before_opset_11_smaller_images_take_the_element_behind() -> None:
    old = Rules.of("Resize", 10, {"mode": "nearest"})
    assert Rules.of("Upsample", 9, {}) == old
    assert target(10, 4, 0.4).nearest(old).tolist() == [0, 3, 5, 8]
    assert target(3, 6).nearest(old).tolist() == [0, 0, 1, 1, 2, 2]
    assert Rules.of("Resize", 13, {}) == Rules("nearest", "half_pixel", "round_prefer_floor")


@pytest.mark.parametrize(
    ("size", "scale", "wanted"), [(10, 0.7, 7), (10, 0.4, 4), (13, 0.3, 3), (7, 1.5, 10)]
)
def test_a_new_size_is_a_product_in_float32(size: int, scale: float, wanted: int) -> None:
    scales = np.array([scale], np.float32).tolist()
    assert targets([size], [0], scales, None)[0].wanted == wanted


def test_a_scale_resamples_also_where_the_size_stays() -> None:
    found = targets([2, 10, 10], [0, 1, 2], [1.0, 1.05, 1.0], None)
    assert found == {1: Target(10, 10, np.float32(1.05))}
    assert targets([2, 10], [0, 1], None, [2, 10]) == {}


def test_an_open_axis_stays_or_is_refused() -> None:
    assert list(targets([None, 4], [0, 1], [1.0, 2.0], None)) == [1]
    assert list(targets([None, 4], [0, 1], None, [1, 8])) == [1]
    with pytest.raises(ValueError, match="an axis whose size is open"):
        targets([None, 4], [0, 1], [2.0, 2.0], None)
    with pytest.raises(ValueError, match="neither constant scales nor constant sizes"):
        targets([3, 4], [0, 1], None, None)


@pytest.mark.parametrize(
    ("policy", "sizes"), [("stretch", [6, 4]), ("not_larger", [2, 4]), ("not_smaller", [6, 12])]
)
def test_the_aspect_ratio_is_kept_as_asked(policy: str, sizes: list[int]) -> None:
    found = targets([2, 4], [0, 1], None, [6, 4], policy)
    assert [found[axis].wanted if axis in found else [2, 4][axis] for axis in (0, 1)] == sizes


def test_shares_are_those_of_the_distances() -> None:
    rules = Rules("linear", "half_pixel", "floor")
    low, high, share = target(3, 6).linear(rules)
    assert (low.tolist(), high.tolist()) == ([0, 0, 0, 1, 1, 2], [1, 1, 1, 2, 2, 2])
    assert share.tolist() == [0, 0.25, 0.75, 0.25, 0.75, 0]
    taken, shares = target(3, 6).cubic(rules, -0.75)
    assert taken[:, 0].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(shares.sum(axis=0), np.ones(6), rtol=1e-6)
