"""All measures between two cells' answers, on plain arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.analysis import values
from harness.analysis.agreement import PlainAnswers, PlainOutput, compare
from harness.errors import UsageError


def scores(count: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (count, classes)).astype(np.float32)


def test_equal_answers_agree_in_everything() -> None:
    x = scores(50, 10)
    found = compare(PlainAnswers(x), PlainAnswers(x.copy()), labels=list(x.argmax(axis=1)))
    assert found.identical
    assert (found.flips, found.flip_share, found.flip_low) == (0, 0.0, 0.0)
    assert (found.jaccard, found.rbo, found.tau) == pytest.approx((1.0, 1.0, 1.0))
    assert (found.max_abs_diff, found.mean_abs_diff, found.kl) == (0.0, 0.0, 0.0)
    assert found.cosine == pytest.approx(1.0)
    assert (found.top1_a, found.top1_b, found.broke, found.mended) == (1.0, 1.0, 0, 0)
    assert found.mcnemar_p == 1.0
    assert found.flipped == ()


def test_flips_are_listed_image_by_image_with_margins() -> None:
    x = np.array([[5.0, 1.0, 0.0], [0.0, 1.0, 4.0]], dtype=np.float32)
    y = np.array([[5.0, 1.0, 0.0], [4.5, 1.0, 4.0]], dtype=np.float32)
    found = compare(PlainAnswers(x), PlainAnswers(y), labels=[0, 2], names=["a.png", "b.png"])
    (flip,) = found.flipped
    assert (flip.image, flip.name, flip.label, flip.a, flip.b) == (1, "b.png", 2, 2, 0)
    assert (flip.margin_a, flip.margin_b) == (3.0, 0.5)
    assert (found.flips, found.flip_share) == (1, 0.5)
    assert (found.top1_a, found.top1_b, found.broke, found.mended) == (1.0, 0.5, 1, 0)


def test_ties_go_to_the_lowest_class_and_are_counted() -> None:
    x = np.array([[2.0, 2.0, 1.0], [3.0, 0.0, 0.0]], dtype=np.float32)
    y = np.array([[2.0, 2.1, 1.0], [3.0, 0.0, 0.0]], dtype=np.float32)
    found = compare(PlainAnswers(x), PlainAnswers(y))
    assert (found.ties_a, found.ties_b) == (1, 0)
    assert [(f.a, f.b) for f in found.flipped] == [(0, 1)]


def test_accuracy_counts_only_labelled_images() -> None:
    x = np.eye(4, dtype=np.float32)
    y = x[[1, 1, 2, 3]]
    found = compare(PlainAnswers(x), PlainAnswers(y), labels=[0, None, 3, -1])
    assert found.labelled == 2
    assert (found.top1_a, found.top1_b) == (0.5, 0.0)
    assert (found.broke, found.mended) == (1, 0)


def test_without_labels_accuracy_is_unknown_and_not_zero() -> None:
    x = scores(20, 5)
    found = compare(PlainAnswers(x), PlainAnswers(x))
    assert (found.labelled, found.top1_a, found.broke, found.mcnemar_p) == (0, None, None, None)


def test_kl_of_logits_against_its_definition() -> None:
    x, y = scores(30, 7, 1), scores(30, 7, 2)
    p, q = (np.exp(z.astype(np.float64)) for z in (x, y))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    expected = (p * np.log(p / q)).sum(1)
    found = compare(PlainAnswers(x), PlainAnswers(y))
    assert found.kl == pytest.approx(expected.mean())
    assert found.kl_max == pytest.approx(expected.max())
    of_probabilities = compare(PlainAnswers(p, "probabilities"), PlainAnswers(q, "probabilities"))
    assert of_probabilities.kl == pytest.approx(expected.mean())


def test_softmax_is_never_applied_to_probabilities() -> None:
    p = np.array([[1.0, 0.0, 0.0]])
    q = np.array([[0.5, 0.5, 0.0]])
    found = compare(PlainAnswers(p, "probabilities"), PlainAnswers(q, "probabilities"))
    assert found.kl == pytest.approx(np.log(2), abs=1e-9)


def test_scores_of_unlike_kinds_are_compared_by_label_and_ranking_only() -> None:
    x = scores(20, 6)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    found = compare(PlainAnswers(x, "logits"), PlainAnswers(p, "probabilities"))
    assert (found.flips, found.jaccard) == (0, 1.0)
    assert (found.kl, found.max_abs_diff, found.mean_abs_diff) == (None, None, None)
    assert (found.cosine, found.margin_change) == (None, None)
    assert any("unlike kinds" in note for note in found.notes)


def test_a_candidate_that_gives_nan_flips_and_has_no_differences() -> None:
    x = scores(10, 4)
    y = x.copy()
    y[3, 1] = np.nan
    found = compare(PlainAnswers(x), PlainAnswers(y))
    assert (found.nonfinite_a, found.nonfinite_b, found.flips) == (0, 1, 1)
    assert found.flipped[0].b is None
    assert (found.max_abs_diff, found.kl, found.cosine) == (None, None, None)
    assert not found.identical


def test_images_that_are_nan_in_both_are_counted_as_unranked() -> None:
    x = scores(10, 4)
    x[2] = np.nan
    found = compare(PlainAnswers(x), PlainAnswers(x.copy()))
    assert (found.flips, found.unranked, found.max_abs_diff) == (0, 1, None)


def test_one_class() -> None:
    x = scores(8, 1)
    found = compare(PlainAnswers(x), PlainAnswers(x + 1), labels=[0] * 8)
    assert (found.flips, found.top, found.jaccard, found.tau) == (0, 1, 1.0, 1.0)
    assert found.margin_change is None
    assert found.top1_b == 1.0


def test_three_classes_shorten_the_top_list() -> None:
    x, y = scores(40, 3, 1), scores(40, 3, 2)
    found = compare(PlainAnswers(x), PlainAnswers(y), labels=[0] * 40)
    assert (found.top, found.jaccard, found.top5_a) == (3, 1.0, 1.0)


def test_thirty_seven_classes() -> None:
    x, y = scores(200, 37, 1), scores(200, 37, 2)
    found = compare(PlainAnswers(x), PlainAnswers(y))
    assert found.classes == 37
    assert found.flips == int((x.argmax(1) != y.argmax(1)).sum())


def test_a_class_offset_mistake_is_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError, match="1001 classes") as caught:
        compare(PlainAnswers(scores(5, 1001)), PlainAnswers(scores(5, 1000)))
    assert "--class-offset 1" in caught.value.remedy


def test_other_numbers_of_images_are_refused() -> None:
    with pytest.raises(UsageError, match="5 images"):
        compare(PlainAnswers(scores(5, 3)), PlainAnswers(scores(6, 3)))


def test_outputs_that_are_no_scores_are_compared_by_value() -> None:
    boxes = scores(6, 8).reshape(6, 2, 4)
    moved = boxes.copy()
    moved[4, 1, 2] += 0.5
    a = PlainAnswers(None, "values", [PlainOutput("boxes", boxes), PlainOutput("n", boxes[:, 0])])
    b = PlainAnswers(None, "values", [PlainOutput("boxes", moved), PlainOutput("n", boxes[:, 0])])
    found = compare(a, b)
    assert (found.flips, found.jaccard, found.kl) == (None, None, None)
    assert found.max_abs_diff == pytest.approx(0.5)
    assert [o.identical for o in found.outputs] == [False, True]
    assert int(found.per_image.max_abs_diff.argmax()) == 4


def test_the_largest_difference_is_taken_over_all_outputs() -> None:
    x, boxes = scores(6, 4), scores(6, 3)
    a = PlainAnswers(x, "logits", [PlainOutput("boxes", boxes)])
    b = PlainAnswers(x, "logits", [PlainOutput("boxes", boxes + 2)])
    assert compare(a, b).max_abs_diff == pytest.approx(2.0, rel=1e-5)


def test_outputs_of_other_shapes_leave_no_measure_instead_of_a_pass() -> None:
    a = PlainAnswers(None, "values", [PlainOutput("boxes", scores(6, 3))])
    b = PlainAnswers(None, "values", [PlainOutput("boxes", scores(6, 4))])
    found = compare(a, b)
    assert (found.max_abs_diff, found.identical) == (None, False)
    assert any("shape" in note for note in found.notes)


def test_other_numbers_of_outputs_leave_no_measure() -> None:
    x = scores(6, 4)
    found = compare(PlainAnswers(x, "logits", [PlainOutput("b", x)]), PlainAnswers(x, "logits"))
    assert (found.flips, found.max_abs_diff, found.identical) == (0, None, False)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = scores(101, 12, 1), scores(101, 12, 2)
    labels = list(x.argmax(1))
    whole = compare(PlainAnswers(x), PlainAnswers(y), labels).to_json()
    monkeypatch.setattr(values, "_CHUNK_VALUES", 60)
    assert compare(PlainAnswers(x), PlainAnswers(y), labels).to_json() == whole


def test_everything_is_json_without_nan() -> None:
    x = scores(5, 1)
    x[0] = np.nan
    text = json.dumps(compare(PlainAnswers(x), PlainAnswers(x)).to_json(), allow_nan=False)
    assert json.loads(text)["images"] == 5
