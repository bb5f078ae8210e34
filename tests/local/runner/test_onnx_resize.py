"""Resizing as numbers against ONNX Runtime, over many scales, sizes and ways to find positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.runtime_answers import runtime_answers
from support.small_onnx import Small, one

from runner.support.onnx_resize import Rules, targets

SCALES = (0.3, 0.4, 0.55, 0.7, 0.9, 1.3, 1.5, 2.0, 2.4)
SIZES = (7, 10)
COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def resized(scale: float, size: int) -> dict[str, Small]:
    """All ways to resize an axis, by what each is called."""
    found: dict[str, Small] = {}

    def add(operator: str, opset: int, **attributes: Any) -> None:
        name = "_".join(map(str, (operator, opset, *attributes.values(), scale, size)))
        entries = "x s" if opset < 11 else "x - s"
        scales = {"s": np.array([1, 1, scale], np.float32)}
        found[name] = Small(one(operator, entries, **attributes), scales, [1, 1, size], opset)

    for mode in ("nearest", "linear"):
        add("Resize", 10, mode=mode)
        if scale > 1:
            add("Upsample", 9, mode=mode)
    for how in COORDINATES:
        for rounding in ROUNDINGS:
            add("Resize", 13, coordinate_transformation_mode=how, nearest_mode=rounding)
        add("Resize", 13, coordinate_transformation_mode=how, mode="linear")
    add("Resize", 19, coordinate_transformation_mode="half_pixel_symmetric", mode="linear")
    return found


MODELS = {
    name: small
    for scale in SCALES
    for size in SIZES
    for name, small in resized(scale, size).items()
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[np.ndarray]]:
    """ONNX Runtime's."""
    fed = {name: (small.model(), small.fed(1)) for name, small in MODELS.items()}
    return runtime_answers(tmp_path_factory.mktemp("runtime"), fed)


@pytest.mark.parametrize("name", list(MODELS))
def test_an_axis_is_resized_as_onnx_runtime_does(
    name: str, answers: dict[str, list[np.ndarray]]
) -> None:
    small = MODELS[name]
    (operator, _, _, attributes), x = small.nodes[0], small.fed(1)
    rules = Rules.of(operator, small.opset, attributes)
    target = targets(x.shape, [0, 1, 2], small.constants["s"].tolist(), None)[2]
    if rules.mode == "nearest":
        got = x[..., target.nearest(rules)]
    else:
        low, high, share = target.linear(rules)
        got = x[..., low] * (1 - share) + x[..., high] * share
    assert got.shape == answers[name][0].shape
    np.testing.assert_allclose(got, answers[name][0], atol=1e-5)
