"""Transpositions along a chain of conversions."""

from __future__ import annotations

import numpy as np
import pytest

from harness.plan.layouts import after, outputs_after

TO_NHWC = [0, 2, 3, 1]
TO_NCHW = [0, 3, 1, 2]


@pytest.mark.parametrize(("first", "then"), [(TO_NHWC, [0, 2, 1, 3]), ([0, 3, 2, 1], TO_NHWC)])
def test_two_transpositions_are_one(first: list[int], then: list[int]) -> None:
    x = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    both = after(first, then)
    np.testing.assert_array_equal(x.transpose(first).transpose(then), x.transpose(both))


def test_there_and_back_is_none() -> None:
    assert after(TO_NHWC, TO_NCHW) is None
    assert after(None, TO_NHWC) == TO_NHWC
    assert after(TO_NHWC, None) == TO_NHWC
    assert after(None, None) is None


def test_outputs_go_back_through_every_step() -> None:
    maps = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    own, before = [0, 2, 1, 3], TO_NCHW
    both = outputs_after([before, None], [own, None])
    assert both is not None
    expected = maps.transpose(own).transpose(before)
    np.testing.assert_array_equal(maps.transpose(both[0]), expected)
    assert both[1] is None
    assert outputs_after(None, [own]) == [own]
    assert outputs_after(None, None) is None
