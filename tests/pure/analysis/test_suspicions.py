"""Rules that need no ImageNet: NaN, constants, hanging, softmax, offsets, order, honesty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from harness.analysis.suspicions import Evidence, Suspicion, suspect, suspect_all
from harness.analysis.suspicions.suspicion import ORDER

N, C = 200, 30


def model(seed: int = 0, right: float = 0.8, n: int = N, c: int = C) -> tuple[Any, Any]:
    """Logits [n, c] of a healthy model and the labels [n] that it mostly finds."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(0, c, n)
    scores = rng.normal(0, 1, (n, c))
    answers = np.where(rng.random(n) < right, labels, rng.integers(0, c, n))
    scores[np.arange(n), answers] += 6
    return scores.astype(np.float32), labels


def kinds(found: list[Suspicion]) -> list[tuple[str, str]]:
    return [(s.kind, s.confidence) for s in found]


def one(scores: Any, labels: Any = None, *others: Evidence, **more: Any) -> Suspicion:
    cell = Evidence(scores, labels=labels, **more)
    found = suspect(cell, [(f"other {i}", o) for i, o in enumerate(others)])
    assert len(found) == 1, kinds(found)
    return found[0]


@pytest.mark.parametrize("n", [1, 3, 20, N])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_healthy_model_is_left_in_peace(n: int, labelled: bool) -> None:
    scores, labels = model(n=n)
    other = Evidence(model(seed=1, n=n)[0])
    cell = Evidence(scores, labels=labels if labelled else None)
    assert suspect(cell) == []
    assert suspect(cell, [("other", other)]) == []


def test_healthy_probabilities_values_and_ten_classes_are_left_in_peace() -> None:
    scores, labels = model(c=10)
    assert suspect(Evidence(scores, labels=labels)) == []
    assert suspect(Evidence(softmax(scores, 1), "probabilities", labels)) == []
    assert suspect(Evidence(np.random.default_rng(0).normal(size=(50, 4)), "values")) == []


def test_nan_and_infinity_are_counted() -> None:
    scores, labels = model()
    scores[3, 5] = np.nan
    scores[7] = np.inf
    found = one(scores, labels, names=[f"{i}.jpg" for i in range(N)])
    assert (found.kind, found.confidence) == ("nan-or-infinite", "certain")
    assert found.numbers == {"images": 2, "nan": 1, "infinite": C}
    assert "3.jpg, 7.jpg" in found.evidence[0]


def test_all_nan_is_one_finding() -> None:
    assert kinds(suspect(Evidence(np.full((20, C), np.nan, np.float32)))) == [
        ("nan-or-infinite", "certain")
    ]


def test_equal_rows_equal_scores_and_one_class_are_constant() -> None:
    scores, labels = model()
    assert one(np.repeat(scores[:1], N, axis=0)).kind == "constant"
    assert one(np.zeros_like(scores), labels).kind == "constant"
    scores[:, 4] += 50
    found = one(scores, labels)
    assert (found.kind, found.confidence) == ("constant", "certain")
    assert "(4)" in found.evidence[0]


def test_images_of_one_class_are_not_constant() -> None:
    scores, _ = model()
    scores[:, 4] += 50
    assert suspect(Evidence(scores, labels=np.full(N, 4))) == []
    assert suspect(Evidence(scores)) == []


def test_a_hundred_equal_answers_running_are_stuck() -> None:
    scores, labels = model()
    scores[50:150] = scores[50]
    found = one(scores, labels)
    assert (found.kind, found.confidence) == ("stuck", "certain")
    assert found.numbers["equal_rows_run"] == 100
    assert found.numbers["same_top5_run"] == 100


def test_the_same_top_5_with_other_scores_is_stuck_from_a_hundred_on() -> None:
    scores, labels = model()
    noise = np.random.default_rng(1).normal(0, 1e-4, (120, C))
    for run, expected in ((99, []), (100, ["stuck"])):
        given = scores.copy()
        given[20 : 20 + run] = scores[20] + noise[:run]
        assert [s.kind for s in suspect(Evidence(given, labels=labels))] == expected


def test_a_file_that_is_in_the_set_many_times_is_not_stuck() -> None:
    scores, labels = model()
    theirs = model(seed=1)[0]
    for given in (scores, theirs):
        given[50:70] = given[50]
    truth = np.r_[labels[:50], np.full(20, labels[50]), labels[70:]]
    beside = [("other", Evidence(theirs))]
    assert suspect(Evidence(scores, labels=truth), beside) == []
    assert one(scores, truth).kind == "stuck"


@pytest.mark.parametrize("c", [10, C, 1000])
def test_a_second_softmax_is_named(c: int) -> None:
    scores, labels = model(c=c)
    twice = softmax(softmax(scores, axis=1), axis=1).astype(np.float32)
    for kind in ("logits", "probabilities"):
        found = one(twice, labels, kind=kind)
        assert (found.kind, found.confidence) == ("double-softmax", "certain")
        assert found.numbers["largest"] <= np.e / (np.e + c - 1) * 1.0001
        assert found.numbers["log_sum"] == pytest.approx(1, abs=0.2)


def test_kinds_that_are_not_as_declared_are_told() -> None:
    scores, labels = model()
    assert one(softmax(scores, 1), labels, kind="logits").kind == "probabilities-as-logits"
    assert one(scores, labels, kind="probabilities").kind == "missing-softmax"


def test_quantised_probabilities_need_not_sum_to_one() -> None:
    scores, labels = model()
    steps = np.floor(softmax(scores, axis=1) * 256) / 256
    assert np.abs(steps.sum(axis=1) - 1).max() > 0.02
    assert suspect(Evidence(steps, "probabilities", labels)) == []


@pytest.mark.parametrize("shift", [-1, 1])
def test_classes_off_by_one_are_named_by_labels(shift: int) -> None:
    scores, labels = model()
    found = one(np.roll(scores, shift, axis=1), labels)
    assert (found.kind, found.confidence) == ("class-offset", "certain")
    assert found.numbers["shift"] == shift
    assert found.numbers["accuracy_shifted"] > 0.7


def test_classes_off_by_one_are_named_without_labels_by_another_cell() -> None:
    scores, _ = model()
    found = one(np.pad(scores, ((0, 0), (1, 0)), constant_values=-9), None, Evidence(scores))
    assert (found.kind, found.numbers["shift"]) == ("class-offset", 1)
    assert "class offset to 1" in found.remedy


def test_of_two_cells_the_one_that_labels_confirm_is_not_accused() -> None:
    scores, labels = model()
    found = suspect_all(
        {
            "right": Evidence(scores, labels=labels),
            "wrong": Evidence(np.roll(scores, 1, axis=1), labels=labels),
        }
    )
    assert found["right"] == []
    assert kinds(found["wrong"]) == [("class-offset", "certain")]


def test_counted_labels_and_any_fixed_exchange_are_explained() -> None:
    scores, labels = model(n=600, c=300)
    kept = np.unique(labels)[::2]
    rows = np.isin(labels, kept)
    counted = one(scores[rows], np.searchsorted(kept, labels[rows]))
    assert counted.kind == "shuffled-labels"
    assert "rise together" in counted.evidence[1]
    exchange = np.random.default_rng(5).permutation(300)
    assert "fixed exchange" in one(*_many_an_image(exchange)).evidence[1]


def _many_an_image(exchange: Any) -> tuple[Any, Any]:
    scores, labels = model(n=3000, c=300)
    return scores, exchange[labels]


def test_answers_of_the_image_before_are_explained() -> None:
    scores, labels = model(n=400, c=100)
    found = one(np.roll(scores, 1, axis=0), labels)
    assert found.kind == "shuffled-labels"
    assert "next image" in found.evidence[1]


def test_classes_in_another_order_are_told_from_wrong_labels_by_another_cell() -> None:
    scores, labels = model(n=300, c=100)
    healthy = Evidence(model(seed=1, n=300, c=100)[0], labels=labels)
    order = np.random.default_rng(2).permutation(100)
    found = one(scores[:, order], labels, healthy)
    assert found.title == "The model's classes are in another order"
    wrong = Evidence(healthy.scores, labels=order[labels])
    found = one(scores, order[labels], wrong)
    assert found.title == "Labels are not the model's classes"


def test_an_untrained_model_gets_a_note_and_no_cause() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(N, 1000)).astype(np.float32)
    found = one(scores, rng.integers(0, 1000, N))
    assert (found.kind, found.confidence) == ("low-accuracy", "possible")
    assert "chance" in found.title


def test_lower_accuracy_than_another_model_is_no_fault_unless_it_is_half() -> None:
    good = Evidence(model(seed=1, right=0.9)[0], labels=model()[1])
    fair, labels = model(right=0.6)
    assert suspect(Evidence(fair, labels=labels), [("good", good)]) == []
    poor, labels = model(right=0.2)
    found = one(poor, labels, good)
    assert found.kind == "low-accuracy"
    assert "good" not in found.title
    assert found.numbers["accuracy_other"] > 0.85


def test_the_same_weights_elsewhere_are_no_witness_against_the_labels() -> None:
    """Seeded weights recognise nothing, and answer the same in every environment."""
    scores, _ = model(right=1.0, c=200)
    _, labels = model(seed=5, c=200)
    labels = np.random.default_rng(7).permutation(labels)
    twin = Evidence(scores + np.float32(1e-6), weights="w")
    assert kinds(suspect(Evidence(scores, labels=labels, weights="w"), [("twin", twin)])) == [
        ("low-accuracy", "possible")
    ]
    another = Evidence(model(seed=1, right=1.0, c=200)[0], weights="v")
    [found] = suspect(Evidence(scores, labels=labels, weights="w"), [("another", another)])
    assert (found.kind, found.confidence) == ("shuffled-labels", "likely")


def test_clipped_scores_are_badly_quantised_and_a_fine_int8_output_is_not() -> None:
    scores, labels = model()
    steps = np.round(scores * 8)
    assert suspect(Evidence(steps, labels=labels)) == []
    found = one(np.clip(steps, -8, 8), labels)
    assert found.kind == "quantised-badly"
    assert found.numbers["tied_share"] > 0.5


def test_the_surest_comes_first() -> None:
    scores, labels = model()
    scores = np.roll(scores, 1, axis=1)
    scores[0, 0] = np.nan
    found = suspect(Evidence(scores, labels=labels))
    assert [s.kind for s in found] == ["nan-or-infinite", "class-offset"]
    assert [ORDER.index(s.confidence) for s in found] == [0, 0]
    assert found[1].document()["numbers"]["shift"] == 1


def test_shapes_that_do_not_fit_are_refused() -> None:
    scores, labels = model()
    with pytest.raises(ValueError, match=r"\[N, C\]"):
        suspect(Evidence(scores[0]))
    with pytest.raises(ValueError, match="labels"):
        suspect(Evidence(scores, labels=labels[:5]))
    with pytest.raises(ValueError, match="images"):
        suspect(Evidence(scores), [("other", Evidence(scores[:5]))])
    assert suspect(Evidence(scores[:0])) == []
