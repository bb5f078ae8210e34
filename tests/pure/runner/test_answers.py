"""Output files: whole or absent, and refused where they can't be a model's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner import answers
from runner.answers import AnswerFiles, best, check_outputs, postprocess
from runner.backends.base import TensorSpec
from runner.errors import RunnerError

SPEC = (TensorSpec("scores", "float32", (None, 3)),)


def test_files_have_their_names_only_when_they_are_whole(tmp_path: Path) -> None:
    with AnswerFiles(str(tmp_path), SPEC, 5, 10**6) as files:
        files.add([np.full((4, 3), 1, np.float32)], batch=4, keep=4)
        assert not (tmp_path / "output_0.npy").exists()
        files.add([np.full((4, 3), 2, np.float32)], batch=4, keep=1)
        files.finish()
    assert np.load(tmp_path / "output_0.npy")[:, 0].tolist() == [1, 1, 1, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["output_0.npy"]


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with AnswerFiles(str(tmp_path), SPEC, 5, 10**6) as files:
        files.add([np.zeros((4, 3), np.float32)], batch=4, keep=4)
        with pytest.raises(RunnerError):
            files.add([np.zeros((3, 3), np.float32)], batch=4, keep=1)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_missing_are_not_answers(tmp_path: Path) -> None:
    with AnswerFiles(str(tmp_path), SPEC, 5, 10**6) as files:
        files.add([np.zeros((4, 3), np.float32)], batch=4, keep=4)
        with pytest.raises(RunnerError, match="4 rows of 5"):
            files.finish()


@pytest.mark.parametrize(
    "second",
    [np.zeros((2, 4), np.float32), np.zeros((2, 3), np.int64)],
)
def test_an_output_that_changes_between_batches_is_invalid(
    tmp_path: Path, second: np.ndarray
) -> None:
    with AnswerFiles(str(tmp_path), SPEC, 4, 10**6) as files:
        files.add([np.zeros((2, 3), np.float32)], batch=2, keep=2)
        with pytest.raises(RunnerError, match="changed its shape or dtype") as caught:
            files.add([second], batch=2, keep=2)
    assert caught.value.kind == "invalid-output"


@pytest.mark.parametrize("output", [np.float32(1), np.zeros((1, 3), np.float32)])
def test_an_output_that_does_not_begin_with_the_batch_is_invalid(
    tmp_path: Path, output: np.ndarray
) -> None:
    with (
        AnswerFiles(str(tmp_path), SPEC, 4, 10**6) as files,
        pytest.raises(RunnerError, match="must be the batch") as caught,
    ):
        files.add([output], batch=2, keep=2)
    assert caught.value.kind == "invalid-output"


def test_another_number_of_outputs_is_invalid() -> None:
    for outputs in (None, [], [np.zeros(1), np.zeros(1)]):
        with pytest.raises(RunnerError, match="1 were declared"):
            check_outputs(outputs, SPEC)


def test_infinite_and_nan_values_are_counted_in_kept_rows_only(tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf, 0], [np.nan, np.nan, np.nan]], np.float32)
    with AnswerFiles(str(tmp_path), SPEC, 1, 10**6) as files:
        files.add([values], batch=2, keep=1)
        assert files.nonfinite == 2


def test_empty_items_and_scalars_of_each_row_can_be_stored(tmp_path: Path) -> None:
    specs = (TensorSpec("a", "int64", (None,)), TensorSpec("b", "float32", (None, 0)))
    with AnswerFiles(str(tmp_path), specs, 2, 10**6) as files:
        files.add([np.array([1, 2]), np.zeros((2, 0), np.float32)], batch=2, keep=2)
        files.finish()
    assert np.load(tmp_path / "output_0.npy").tolist() == [1, 2]
    assert np.load(tmp_path / "output_1.npy").shape == (2, 0)


def test_a_folder_that_can_not_be_written_is_kind_job(tmp_path: Path) -> None:
    with (
        AnswerFiles(str(tmp_path / "absent"), SPEC, 1, 10**6) as files,
        pytest.raises(RunnerError, match="can't be written") as caught,
    ):
        files.add([np.zeros((1, 3), np.float32)], batch=1, keep=1)
    assert caught.value.kind == "job"


def test_outputs_are_written_in_the_layout_of_the_model_that_was_converted(tmp_path: Path) -> None:
    made = np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3)
    specs = (TensorSpec("map", "float32", None), *SPEC)
    with AnswerFiles(str(tmp_path), specs, 2, 10**6, [(0, 3, 1, 2), None]) as files:
        files.add([made, np.zeros((2, 3), np.float32)], batch=2, keep=2)
        [first, second] = files.finish()
    assert first["shape"] == [2, 3, 4, 5]
    assert second["shape"] == [2, 3]
    assert (np.load(tmp_path / "output_0.npy") == made.transpose(0, 3, 1, 2)).all()


@pytest.mark.parametrize("axes", [(), [None, None], [(0, 1), (0, 1), (0, 1)]])
def test_axes_for_another_number_of_outputs_are_refused(tmp_path: Path, axes: Any) -> None:
    with pytest.raises(RunnerError, match=f"axes for {len(axes)} outputs and the model has 1") as e:
        AnswerFiles(str(tmp_path), SPEC, 2, 10**6, axes)
    assert e.value.kind == "job"


def test_axes_of_another_rank_than_the_output_are_refused(tmp_path: Path) -> None:
    with (
        AnswerFiles(str(tmp_path), SPEC, 2, 10**6, [(0, 3, 1, 2)]) as files,
        pytest.raises(RunnerError, match="2 dimensions and its conversion says 4"),
    ):
        files.add([np.zeros((2, 3), np.float32)], batch=2, keep=2)


def softened(folder: Path, rows: np.ndarray, batch: int) -> tuple[np.ndarray, int]:
    """Rows through the files with a softmax too many, and what they counted as not finite."""
    folder.mkdir()
    spec = (TensorSpec("scores", "float32", (None, rows.shape[1])),)
    with AnswerFiles(str(folder), spec, len(rows), 10**8, softmax=True) as files:
        for first in range(0, len(rows), batch):
            fed = rows[first : first + batch]
            padded = np.concatenate([fed, np.repeat(fed[-1:], batch - len(fed), axis=0)])
            files.add([padded], batch=batch, keep=len(fed))
        [entry] = files.finish()
        assert entry["shape"] == list(rows.shape)
    return np.load(folder / "output_0.npy"), files.nonfinite


def by_hand(rows: np.ndarray, times: int) -> np.ndarray:
    values = rows.astype(np.float64)
    for _ in range(times):
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    return values


def quantised_probabilities() -> np.ndarray:
    """A softmax over 1000 classes in steps of 1/256: rows add up to clearly less than one."""
    peaks = np.random.default_rng(3).uniform(4, 9, (21, 1))
    drawn = np.random.default_rng(4).normal(size=(21, 1000))
    drawn[:, :1] += peaks
    return (np.rint(by_hand(drawn, 1) * 256) / 256).astype(np.float32)


def with_an_odd_row() -> np.ndarray:
    rows = quantised_probabilities()
    rows[5] = 0
    return rows


@pytest.mark.parametrize(
    ("rows", "times"),
    [
        (quantised_probabilities(), 1),
        (by_hand(np.random.default_rng(1).normal(size=(21, 7)), 1).astype(np.float32), 1),
        (np.random.default_rng(2).normal(size=(21, 7)).astype(np.float32), 2),
        (with_an_odd_row(), 2),
    ],
    ids=["quantised", "probabilities", "logits", "odd-row"],
)
def test_a_softmax_too_many_is_the_same_whatever_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: np.ndarray, times: int
) -> None:
    monkeypatch.setattr(answers, "_CHUNK_VALUES", 4 * rows.shape[1])
    one, _ = softened(tmp_path / "one", rows, 1)
    eight, nonfinite = softened(tmp_path / "eight", rows, 8)
    assert one.tobytes() == eight.tobytes()
    assert (one.dtype, nonfinite) == (np.float32, 0)
    np.testing.assert_allclose(one, by_hand(rows, times), rtol=1e-5)


def test_the_rows_that_are_quantised_add_up_to_less_than_one() -> None:
    sums = quantised_probabilities().sum(axis=1)
    assert sums.min() < 0.9
    assert sums.max() <= 1.05


def test_rows_that_are_not_finite_decide_nothing_and_are_counted(tmp_path: Path) -> None:
    rows = np.array([[0.2, 0.7, 0.1], [np.nan, 5, 1], [np.inf, 0, 1]], np.float32)
    got, nonfinite = softened(tmp_path / "x", rows, 2)
    np.testing.assert_allclose(got[0], by_hand(rows[:1], 1)[0], rtol=1e-6)
    assert np.isnan(got[1:]).all()
    assert nonfinite == 6


@pytest.mark.parametrize(
    "output", [np.zeros((2, 3, 3), np.float32), np.zeros(2, np.float32), np.zeros((2, 3), np.int64)]
)
def test_a_softmax_of_what_is_no_class_scores_is_refused(
    tmp_path: Path, output: np.ndarray
) -> None:
    with (
        AnswerFiles(str(tmp_path), SPEC, 2, 10**6, softmax=True) as files,
        pytest.raises(RunnerError, match="'scores' holds no class scores") as caught,
    ):
        files.add([output], batch=2, keep=2)
    assert caught.value.kind == "unsupported"


def test_the_stem_names_the_files(tmp_path: Path) -> None:
    with AnswerFiles(str(tmp_path), SPEC, 1, 10**6, stem="timed") as files:
        files.add([np.ones((2, 3), np.float32)], batch=2, keep=1)
        [entry] = files.finish()
    assert entry["file"] == "timed_0.npy"
    assert [path.name for path in tmp_path.iterdir()] == ["timed_0.npy"]


def test_the_best_classes_are_the_largest_scores_in_their_order() -> None:
    scores = np.random.default_rng(5).normal(size=(7, 40)).astype(np.float32)
    assert best(scores).tolist() == np.argsort(-scores, axis=1)[:, :5].tolist()
    assert best(scores[:, :3]).tolist() == np.argsort(-scores[:, :3], axis=1).tolist()


def test_what_comes_after_the_model_is_what_answers_are_and_the_best_classes() -> None:
    spec = (TensorSpec("scores", "uint8", (None, 4), scale=0.5, zero_point=10),)
    [values], classes = postprocess([np.array([[10, 12, 30, 11]], np.uint8)], spec, 1)
    assert (values.tolist(), values.dtype) == ([[0, 1, 10, 0.5]], np.float32)
    assert classes is not None
    assert classes.tolist() == [[2, 1, 3, 0]]


@pytest.mark.parametrize("output", [np.ones((2, 3, 3), np.float32), np.ones((2, 3), np.int64)])
def test_what_is_no_class_scores_has_no_best_classes(output: np.ndarray) -> None:
    values, classes = postprocess([output], SPEC, 2)
    assert values[0].shape == output.shape
    assert classes is None


def test_what_comes_after_the_model_checks_as_answers_do() -> None:
    with pytest.raises(RunnerError, match="must be the batch"):
        postprocess([np.zeros((1, 3), np.float32)], SPEC, 2)
