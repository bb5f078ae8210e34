"""What was computed while timing, against the committed answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_workers import Clock, FakeWorker

from harness.errors import ExecutionError
from harness.execution.bundles import answers_folder
from harness.execution.timed_outputs import UNEQUAL_SHARE, compare, fetch

KEY = "ab" * 32
ANSWERS = np.linspace(-1, 1, 40, dtype=np.float32).reshape(8, 5)


def compared(
    tmp_path: Path, timed: Any, *, answers: Any = ANSWERS, first: int = 2, rows: int = 3
) -> dict[str, Any]:
    folder = answers_folder(tmp_path, KEY)
    folder.mkdir(parents=True)
    np.save(folder / "logits.npy", answers)
    outputs = {"outputs": [{"index": 0, "file": "logits.npy"}]}
    (folder / "answers.json").write_text(json.dumps(outputs))
    np.save(tmp_path / "timed_0.npy", timed)
    described = [{"index": 0, "file": "timed_0.npy", "dtype": str(np.asarray(timed).dtype)}]
    told = {"folder": str(tmp_path), "outputs": described, "first_row": first, "rows": rows}
    return dict(compare(tmp_path, KEY, told))


def test_the_same_numbers_are_equal_to_the_bit(tmp_path: Path) -> None:
    assert compared(tmp_path, ANSWERS[2:5]) == {
        "bitwise": True,
        "equal": True,
        "max_abs_diff": 0.0,
        "share_of_range": 0.0,
    }


def test_a_shape_that_differs_in_ones_alone_is_the_same(tmp_path: Path) -> None:
    assert compared(tmp_path, ANSWERS[2:5].reshape(3, 5, 1, 1))["bitwise"]


@pytest.mark.parametrize(("part", "equal"), [(0.5, True), (2.0, False)])
def test_other_sums_are_equal_and_other_answers_are_not(
    tmp_path: Path, part: float, equal: bool
) -> None:
    timed = ANSWERS[2:5].copy()
    extent = float(timed.max() - timed.min())
    timed[1, 3] += part * UNEQUAL_SHARE * extent
    found = compared(tmp_path, timed)
    assert (found["bitwise"], found["equal"]) == (False, equal)
    assert found["share_of_range"] == pytest.approx(part * UNEQUAL_SHARE, rel=1e-3)
    assert found["max_abs_diff"] == pytest.approx(part * UNEQUAL_SHARE * extent, rel=1e-3)


def test_numbers_in_place_of_none_are_not_equal_and_nan_in_the_same_place_is(
    tmp_path: Path,
) -> None:
    holed = ANSWERS.copy()
    holed[3, 1] = np.nan
    near = holed[2:5] + np.float32(1e-6)
    assert compared(tmp_path / "a", near, answers=holed)["equal"]
    found = compared(tmp_path / "b", ANSWERS[2:5], answers=holed)
    assert (found["equal"], found["max_abs_diff"]) == (False, None)


def test_another_number_of_rows_is_not_equal(tmp_path: Path) -> None:
    assert compared(tmp_path, ANSWERS[2:6])["equal"] is False


def test_integers_are_compared_too(tmp_path: Path) -> None:
    whole = np.arange(40, dtype=np.int32).reshape(8, 5)
    assert compared(tmp_path / "a", whole[2:5], answers=whole)["bitwise"]
    assert compared(tmp_path / "b", whole[3:6], answers=whole)["equal"] is False


def test_without_answers_or_a_reply_the_reason_is_told(tmp_path: Path) -> None:
    told = {"folder": str(tmp_path), "outputs": [], "first_row": 0, "rows": 1}
    assert "cannot be compared" in compare(tmp_path, KEY, told)["absent"]
    assert compare(tmp_path, KEY, {"absent": "a softmax"}) == {"absent": "a softmax"}


def test_a_worker_that_cannot_write_them_is_no_failure_of_the_session(tmp_path: Path) -> None:
    class Refusing(FakeWorker):
        def command(self, *_: Any) -> dict[str, Any]:
            raise ExecutionError("unsupported", "a softmax is decided by all answers")

    told = fetch(Refusing(Clock()), tmp_path, 1)
    assert told == {"absent": "a softmax is decided by all answers"}
    assert fetch(FakeWorker(Clock()), tmp_path, 1)["folder"] == str(tmp_path)
