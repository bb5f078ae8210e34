"""How a converter's answers are held against those of its source."""

from __future__ import annotations

import numpy as np
import pytest

from runner.errors import RunnerError
from runner.support import conversion

ROW = np.array([[1.0, 2.0]], "f4")


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ([ROW], "2 outputs of the shapes [(1, 2), (1, 2)], and what was made of it 1 of"),
        ([ROW, ROW, ROW], "made of it 3 of"),
        ([ROW, ROW[0]], "made of it 2 of [(1, 2), (2,)]"),
        ([ROW, ROW.T], "made of it 2 of [(1, 2), (2, 1)]"),
    ],
)
def test_a_lost_output_or_another_shape_is_no_conversion(got: list[np.ndarray], words: str) -> None:
    expected = [ROW, ROW]
    with pytest.raises(RunnerError) as refused:
        conversion.require_alike(expected, got)
    assert refused.value.kind == "conversion"
    assert words in refused.value.message
    assert conversion.largest_difference(expected, got) is None


def test_where_sizes_do_not_count_ranks_and_numbers_do() -> None:
    conversion.require_alike([ROW], [ROW.T], sizes=False)
    for got in ([ROW[0]], [ROW, ROW], []):
        with pytest.raises(RunnerError, match="the source gives 1 outputs"):
            conversion.require_alike([ROW], got, sizes=False)


def test_alike_are_shapes_and_not_values_and_nobody_is_refused_without_a_source() -> None:
    conversion.require_alike([ROW, ROW], [ROW, ROW + 0.5])
    conversion.require_alike(None, [ROW])
    assert conversion.largest_difference([ROW, ROW], [ROW, ROW + 0.5]) == 0.5
    assert conversion.largest_difference(None, [ROW]) is None


def test_a_difference_that_is_no_number_is_not_told() -> None:
    assert conversion.largest_difference([ROW], [ROW * np.nan]) is None
    assert conversion.largest_difference([], []) is None
