"""What an importer is tried with: the shape asked for against the one declared, and values."""

from __future__ import annotations

import numpy as np
import pytest

from runner.backends.base import TensorSpec
from runner.errors import RunnerError
from runner.support import importing


def spec(*shape: int | None) -> TensorSpec:
    return TensorSpec("x", "float32", shape)


@pytest.mark.parametrize(
    ("declared", "batch", "item_shape", "shape"),
    [
        (spec(None, 3, 5), 4, None, (4, 3, 5)),
        (spec(1, 3, 5), 1, (3, 5), (1, 3, 5)),
        (spec(None, None, None), 2, (3, 5), (2, 3, 5)),
        (TensorSpec("x", "float32", None), 2, (3, 5), (2, 3, 5)),
    ],
)
def test_what_is_open_is_what_was_asked_for(
    declared: TensorSpec, batch: int, item_shape: tuple[int, ...] | None, shape: tuple[int, ...]
) -> None:
    assert importing.fed_shape("a>b", declared, batch, item_shape) == shape


@pytest.mark.parametrize(
    ("declared", "batch", "item_shape", "words"),
    [
        (spec(1, 3, 5), 2, None, r"declared as \[1, 3, 5\] and \[2, 3, 5\] was asked for"),
        (spec(None, 3, 5), 1, (3, 6), r"\[1, 3, 6\] was asked for"),
        (spec(None, 3, 5), 1, (3,), r"\[1, 3\] was asked for"),
        (spec(None, 3, None), 1, None, "give the option item_shape"),
        (TensorSpec("x", "float32", None), 1, None, "give the option item_shape"),
    ],
)
def test_what_contradicts_the_source_is_refused(
    declared: TensorSpec, batch: int, item_shape: tuple[int, ...] | None, words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        importing.fed_shape("a>b", declared, batch, item_shape)
    assert caught.value.kind == "unsupported"


def test_the_same_values_are_fed_each_time_in_the_dtype_of_the_input() -> None:
    first = importing.seeded((2, 30), "float32")
    np.testing.assert_array_equal(first, importing.seeded((2, 30), "float32"))
    assert first.dtype == np.float32
    assert first.min() < 0 < first.max()
    integers = importing.seeded((2, 30), "int8")
    assert (integers.dtype, integers.min() >= 0, integers.max() > 1) == (np.int8, True, True)
