"""Sliding windows as numbers, by the formulas of the field."""

from __future__ import annotations

import pytest

from runner.support.onnx_window import Window, resolve_pads


@pytest.mark.parametrize(
    ("window", "upper", "lower"),
    [
        (Window(224, 3, 2), (0, 1), (1, 0)),
        (Window(225, 3, 2), (1, 1), (1, 1)),
        (Window(7, 3, 1), (1, 1), (1, 1)),
        (Window(7, 3, 1, 2), (2, 2), (2, 2)),
        (Window(7, 2, 1), (0, 1), (1, 0)),
        (Window(8, 1, 2), (0, 0), (0, 0)),
    ],
)
def test_same_padding_is_tensorflows(
    window: Window, upper: tuple[int, int], lower: tuple[int, int]
) -> None:
    assert window.same_pads() == upper
    assert window.same_pads(lower=True) == lower


def test_pads_come_from_onnx_in_its_order() -> None:
    windows = [Window(8, 3, 2), Window(7, 3, 2)]
    assert resolve_pads(windows, [1, 2, 3, 4], "NOTSET") == [(1, 3), (2, 4)]
    assert resolve_pads(windows, [], "NOTSET") == [(0, 0), (0, 0)]
    assert resolve_pads(windows, [1, 1, 1, 1], "VALID") == [(0, 0), (0, 0)]
    assert resolve_pads(windows, [], "SAME_UPPER") == [(0, 1), (1, 1)]
    assert resolve_pads(windows, [], "SAME_LOWER") == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("window", "pads", "extra"),
    [
        (Window(112, 3, 2), (0, 0), 1),
        (Window(113, 3, 2), (0, 0), 0),
        (Window(7, 3, 2), (1, 1), 0),
        (Window(10, 3, 3), (1, 1), 0),
        (Window(2, 1, 2), (0, 0), 0),
    ],
)
def test_ceil_mode_adds_what_the_last_window_lacks(
    window: Window, pads: tuple[int, int], extra: int
) -> None:
    assert window.ceil_extra(pads) == extra


def test_averages_count_the_padding_only_when_asked_and_what_ceil_mode_adds_never() -> None:
    window = Window(5, 3, 2)
    assert window.counts((1, 1), 0, include_pad=False).tolist() == [2, 3, 2]
    assert window.counts((1, 1), 0, include_pad=True).tolist() == [3, 3, 3]
    assert Window(6, 3, 2).counts((0, 0), 1, include_pad=True).tolist() == [3, 3, 2]
