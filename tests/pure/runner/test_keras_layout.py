"""Layouts, reshapes and Keras's names for padding as numbers, against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from runner.support.keras_layout import (
    CHANNELS_LAST,
    ReshapePlan,
    inverse,
    keras_padding,
    only_units_move,
    plain,
    plan_reshape,
    positive_axes,
    relabelled,
    resolve_reshape,
    without,
)
from runner.support.onnx_window import Window

RESHAPES = [
    ((2, 12, 5, 3), (2, 3, 4, 5, 3)),
    ((2, 12, 5, 3), (2, 12, 15)),
    ((2, 12, 5, 3), (2, 180)),
    ((2, 12, 5, 3), (24, 15)),
    ((2, 12, 5, 3), (2, 5, 12, 3)),
    ((2, 12, 5, 3), (360,)),
    ((2, 12, 1, 1), (2, 12)),
    ((2, 1, 5, 3), (2, 15, 1)),
    ((2, 4, 3, 5), (2, 1, 4, 3, 5, 1)),
    ((2, 4, 3, 5), (1, 8, 15)),
    ((2, 1, 1, 7), (2, 7)),
]


@pytest.mark.parametrize(("before", "after"), RESHAPES)
def test_a_planned_reshape_gives_what_numpy_gives_in_every_layout(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    x = np.arange(np.prod(before)).reshape(before)
    for axes in itertools.permutations(range(len(before))):
        plan = plan_reshape(axes, [before], [after])
        laid = x.transpose(plan.before).reshape([after[axis] for axis in plan.after])
        np.testing.assert_array_equal(laid.transpose(inverse(plan.after)), x.reshape(after))


def test_a_reshape_that_keeps_the_channels_leaves_an_image_where_it_lies() -> None:
    patches = plan_reshape(CHANNELS_LAST, [(3, 8, 4, 4)], [(3, 8, 16)])
    assert patches == ReshapePlan(before=(0, 2, 3, 1), after=(0, 2, 1))
    groups = plan_reshape(CHANNELS_LAST, [(3, 8, 4, 4)], [(3, 2, 4, 4, 4)])
    assert groups == ReshapePlan(before=(0, 2, 3, 1), after=(0, 3, 4, 1, 2))


def test_a_reshape_that_groups_otherwise_for_another_batch_merges_everything() -> None:
    one_batch = plan_reshape((0, 2, 1), [(5, 4, 6)], [(5, 24)])
    assert one_batch == ReshapePlan(before=(0, 1, 2), after=(0, 1))
    kept = plan_reshape((1, 0, 2), [(5, 4, 6)], [(5, 4, 2, 3)])
    assert kept == ReshapePlan(before=(1, 0, 2), after=(1, 0, 2, 3))
    batches = plan_reshape((1, 0, 2), [(3, 4, 5), (5, 4, 5)], [(5, 4, 3), (5, 4, 5)])
    assert batches == ReshapePlan(before=(0, 1, 2), after=(0, 1, 2))


@pytest.mark.parametrize("perm", list(itertools.permutations(range(4))))
def test_a_relabelled_tensor_is_the_transposed_one(perm: tuple[int, ...]) -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    axes = relabelled(CHANNELS_LAST, perm)
    laid = x.transpose(CHANNELS_LAST)
    np.testing.assert_array_equal(laid.transpose(inverse(axes)), x.transpose(perm))


@pytest.mark.parametrize("gone", [(1,), (2, 3), (0, 1, 2, 3), (3,)])
def test_axes_without_some_are_those_of_the_reduced_tensor(gone: tuple[int, ...]) -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    places = tuple(CHANNELS_LAST.index(axis) for axis in gone)
    laid, axes = x.transpose(CHANNELS_LAST).sum(places), without(CHANNELS_LAST, gone)
    np.testing.assert_array_equal(laid.transpose(inverse(axes)), x.sum(gone))


def test_only_axes_of_size_one_move_without_bytes() -> None:
    assert only_units_move((2, 5, 1, 1), plain(4), CHANNELS_LAST)
    assert only_units_move((2, 1, 4, 4), plain(4), CHANNELS_LAST)
    assert not only_units_move((2, 5, 4, 1), plain(4), CHANNELS_LAST)


def test_axes_are_counted_from_the_front_or_refused() -> None:
    assert positive_axes([-1, 1], 4) == (1, 3)
    with pytest.raises(ValueError, match=r"the axes \[4\] do not fit a tensor of rank 4"):
        positive_axes([4], 4)


@pytest.mark.parametrize(
    ("wanted", "allow_zero", "expected"),
    [((0, -1), False, (2, 12)), ((-1, 0), False, (6, 4)), ((4, 6), True, (4, 6))],
)
def test_reshape_resolves_zero_and_minus_one(
    wanted: tuple[int, ...], allow_zero: bool, expected: tuple[int, ...]
) -> None:
    assert resolve_reshape((2, 4, 3), wanted, allow_zero=allow_zero) == expected


def test_a_reshape_that_loses_elements_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[2, 5\] can't be reshaped to \[3, -1\]"):
        resolve_reshape((2, 5), (3, -1), allow_zero=False)


@pytest.mark.parametrize(
    ("size", "pads", "expected"),
    [
        (224, (0, 1), "same"),
        (224, (1, 1), "explicit"),
        (225, (1, 1), "same"),
        (224, (0, 0), "valid"),
        (224, (1, 0), "explicit"),
    ],
)
def test_pads_are_same_only_where_tensorflow_pads_so(
    size: int, pads: tuple[int, int], expected: str
) -> None:
    windows = [Window(size, 3, 2), Window(size, 3, 2)]
    assert keras_padding(windows, [pads, pads]) == expected
