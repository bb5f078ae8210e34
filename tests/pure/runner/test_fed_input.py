"""What a converter tries a model with: the shape asked for against the one declared, and values."""

from __future__ import annotations

import numpy as np
import pytest

from runner.errors import RunnerError
from runner.support import fed_input

Declared = tuple[int | None, ...] | None


@pytest.mark.parametrize(
    ("declared", "batch", "item_shape", "shape"),
    [
        ((None, 3, 5), 4, None, (4, 3, 5)),
        ((1, 3, 5), 1, (3, 5), (1, 3, 5)),
        ((None, None, None), 2, (3, 5), (2, 3, 5)),
        ((None,), 2, (), (2,)),
        (None, 2, (3, 5), (2, 3, 5)),
    ],
)
def test_what_is_open_is_what_was_asked_for(
    declared: Declared, batch: int, item_shape: tuple[int, ...] | None, shape: tuple[int, ...]
) -> None:
    assert fed_input.fed_shape("a>b", "x", declared, batch, item_shape) == shape


@pytest.mark.parametrize(
    ("declared", "batch", "item_shape", "words"),
    [
        ((1, 3, 5), 2, None, r"'x' takes \[1, 3, 5\] and \[2, 3, 5\] was asked for"),
        ((None, 3, 5), 1, (3, 6), r"\[1, 3, 6\] was asked for"),
        ((None, 3, 5), 1, (3,), r"\[1, 3\] was asked for"),
        ((), 1, None, r"takes \[\] and \[1\] was asked for"),
        ((None, 3, None), 1, None, r"\[None, 3, None\], which leaves more .* option item_shape"),
        (None, 1, None, "does not say what shape .* give the option item_shape"),
    ],
)
def test_what_contradicts_the_source_is_refused(
    declared: Declared, batch: int, item_shape: tuple[int, ...] | None, words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        fed_input.fed_shape("a>b", "x", declared, batch, item_shape)
    assert caught.value.kind == "unsupported"
    assert caught.value.message.startswith("a>b: ")


@pytest.mark.parametrize(
    ("shape", "declared", "left"),
    [
        ((2, 8, 6), (None, 8, 6), (None, 8, 6)),
        ((2, 5, 4), (None, None, 4), (None, 5, 4)),
        ((2, 4), (2, 4), (2, 4)),
        ((2, 5), None, (None, 5)),
    ],
)
def test_only_the_batch_stays_open(
    shape: tuple[int, ...], declared: Declared, left: tuple[int | None, ...]
) -> None:
    assert fed_input.with_open_batch(shape, declared) == left


def test_the_same_values_are_fed_each_time_in_the_dtype_of_the_input() -> None:
    first = fed_input.seeded((2, 30), "float32")
    np.testing.assert_array_equal(first, fed_input.seeded((2, 30), np.dtype("float32")))
    assert first.dtype == np.float32
    assert first.min() < 0 < first.max()
    integers = fed_input.seeded((2, 30), "int8")
    assert (integers.dtype, integers.min() >= 0, integers.max() > 1) == (np.int8, True, True)
