"""Whether what was made answers as its source does."""

from __future__ import annotations

import re

import numpy as np
import pytest

from harness.errors import ExecutionError
from harness.execution.attempts import Failure
from harness.execution.checking import (
    QUANTISED,
    Check,
    difference,
    disagreement,
    require_usable,
)

SOURCE = np.array([[0.0, 5.0, 10.0], [-10.0, 2.0, 3.0]], np.float32)


def test_a_difference_is_a_share_of_the_range_of_the_source() -> None:
    other = SOURCE + np.array([[0, 0, 0.5], [0, 0, 0]], np.float32)
    assert difference([other], [SOURCE]) == (0.5, 0.025)
    assert difference([SOURCE], [SOURCE]) == (0.0, 0.0)


def test_outputs_without_a_range_are_taken_by_their_size() -> None:
    assert difference([np.full((2, 1), 5.0)], [np.full((2, 1), 4.0)]) == (1.0, 0.25)
    assert difference([np.full((2, 1), 5.0)], [np.zeros((2, 1))]) == (5.0, 5.0)


def test_the_worst_of_several_outputs_counts() -> None:
    small = np.array([[0.0, 0.1]])
    largest, share = difference([SOURCE + 1, small + 0.05], [SOURCE, small])
    assert largest == 1.0
    assert share == pytest.approx(0.5)


def test_infinity_that_the_source_has_too_is_no_fault() -> None:
    masked = SOURCE.copy()
    masked[0, 0] = -np.inf
    require_usable([masked], [masked])
    assert difference([masked], [masked]) == (0.0, 0.0)
    with pytest.raises(ExecutionError, match="Output 0 is infinity for image 0"):
        require_usable([masked], [SOURCE])


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([], "It gives no output."),
        ([np.array(1.0)], "Output 0 is one number for all images."),
        ([SOURCE, SOURCE], "It gives 2 outputs, and its source 1."),
        ([SOURCE[:, :2]], r"Output 0 has the shape \[2\], and its source's \[3\]."),
        ([np.array([[0, 1, 2], [0, np.nan, 1]])], "Output 0 is NaN for image 1"),
    ],
)
def test_what_nobody_can_use_is_refused(outputs: list[np.ndarray], said: str) -> None:
    with pytest.raises(ExecutionError, match=said):
        require_usable(outputs, [SOURCE])


def test_nan_is_found_without_a_source_too() -> None:
    with pytest.raises(ExecutionError, match="NaN"):
        require_usable([np.full((1, 2), np.nan)], None)


def test_the_failure_says_how_far_off_it_is() -> None:
    names = "conversions.tolerance", "tflite in a", "onnxruntime in b"
    check = Check(4, 3.14159, 0.25, 0.01, *names)
    error = disagreement(check)
    assert error.kind == "disagreement"
    said = "over 4 images is 3.14, 25 % of the range of the outputs, and 1 % is allowed"
    assert re.search(said, error.message)
    assert "allow more with `conversions.tolerance`" in error.remedy


def test_the_remedy_names_the_tolerance_that_bound() -> None:
    for name in (QUANTISED, "conversions.float16_tolerance"):
        check = Check(4, 3.0, 0.9, 0.5, name, "a", "b")
        assert f"allow more with `{name}`" in disagreement(check).remedy


@pytest.mark.parametrize(("share", "far"), [(None, False), (0.5, False), (0.51, True)])
def test_too_far_off_is_what_is_more_than_allowed(share: float | None, far: bool) -> None:
    assert Check(4, None, share, 0.5, QUANTISED, "a", "b").too_far_off is far


def test_what_failed_under_a_tolerance_is_tried_again_under_a_larger_one() -> None:
    failure = Failure("k", "disagreement", "m", limits={"conversions.tolerance": 0.01})
    assert failure.lasts({"conversions.tolerance": 0.01})
    assert not failure.lasts({"conversions.tolerance": 0.5})
    slow = Failure("k", "timeout", "m", limits={"conversions.timeout_seconds": 60})
    assert slow.lasts({"conversions.timeout_seconds": 60, "timeout_seconds": 3600})
    assert not slow.lasts({"conversions.timeout_seconds": 90, "timeout_seconds": 3600})


def test_what_failed_by_a_limit_for_integers_waits_for_that_one() -> None:
    failure = Failure("k", "disagreement", "m", limits={QUANTISED: 0.5})
    now = {"conversions.tolerance": 9.0, "conversions.float16_tolerance": 9.0}
    assert failure.lasts({**now, QUANTISED: 0.5})
    assert not failure.lasts({**now, QUANTISED: 0.9})
