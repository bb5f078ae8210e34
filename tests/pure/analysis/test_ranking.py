"""Top-k lists and their distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.ranking import (
    NO_CLASS,
    kendall_tau_b,
    margins,
    overlap,
    rank_biased_overlap,
    top_k,
    top_ties,
)


def test_top_k_orders_by_score_then_by_lowest_class() -> None:
    scores = np.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    assert top_k(scores, 3).tolist() == [[1, 2, 3], [0, 1, 2]]


def test_top_k_equals_a_stable_sort_on_scores_with_many_ties() -> None:
    scores = np.random.default_rng(1).integers(0, 6, (300, 40)).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert (top_k(scores, 5) == expected).all()


def test_top_k_of_a_row_with_a_nan_is_no_class() -> None:
    assert top_k(np.array([[1.0, np.nan, 3.0]]), 2).tolist() == [[NO_CLASS, NO_CLASS]]


def test_top_k_never_names_a_class_twice_when_scores_are_minus_infinity() -> None:
    scores = np.array([[-np.inf, 5.0, -np.inf, -np.inf]])
    assert top_k(scores, 3).tolist() == [[1, 0, 2]]


def test_top_k_of_a_single_class() -> None:
    assert top_k(np.array([[0.3], [0.1]]), 1).tolist() == [[0], [0]]


def test_ties_at_the_top_are_found_and_others_are_not() -> None:
    scores = np.array([[2.0, 2.0, 1.0], [2.0, 1.0, 1.0], [np.nan, 1.0, 1.0]])
    assert top_ties(scores).tolist() == [True, False, False]


def test_margins() -> None:
    scores = np.array([[1.0, 4.0, 2.5], [7.0, 7.0, 0.0], [np.nan, 1.0, 0.0]])
    found = margins(scores)
    assert found[:2].tolist() == [1.5, 0.0]
    assert np.isnan(found[2])
    assert np.isnan(margins(np.array([[3.0]]))).all()


def test_overlap_of_top_sets() -> None:
    a, b = np.array([[1, 2, 3, 4, 5]]), np.array([[5, 4, 9, 8, 7]])
    assert overlap(a, a).tolist() == [1.0]
    assert overlap(a, b)[0] == pytest.approx(2 / 8)


def test_rank_biased_overlap_against_its_definition() -> None:
    a, b = np.array([[1, 2, 3, 4, 5]]), np.array([[1, 3, 2, 9, 8]])
    shared = [len(set(a[0, :d]) & set(b[0, :d])) for d in range(1, 6)]
    p = 0.9
    expected = shared[-1] / 5 * p**5 + (1 - p) / p * sum(
        x / d * p**d for d, x in enumerate(shared, 1)
    )
    assert rank_biased_overlap(a, b)[0] == pytest.approx(expected)


def test_rank_biased_overlap_of_equal_and_disjoint_lists() -> None:
    a, b = np.array([[1, 2, 3, 4, 5]]), np.array([[6, 7, 8, 9, 10]])
    assert rank_biased_overlap(a, a)[0] == pytest.approx(1.0)
    assert rank_biased_overlap(a, b)[0] == 0.0


def test_kendall_compares_ranks_and_never_class_numbers() -> None:
    """The trap: tau over class ids calls [1..5] and [6..10] perfectly concordant."""
    a, b = np.array([[1, 2, 3, 4, 5]]), np.array([[6, 7, 8, 9, 10]])
    assert kendall_tau_b(a, b)[0] == pytest.approx(-25 / 35)
    assert kendall_tau_b(a, a)[0] == 1.0


def test_kendall_equals_scipy_over_the_union_with_the_absent_tied_last() -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        a, b = rng.permutation(9)[:5], rng.permutation(9)[:5]
        union = sorted({*a.tolist(), *b.tolist()})
        ranks = [[x.tolist().index(c) if c in x else 5 for c in union] for x in (a, b)]
        expected = stats.kendalltau(*ranks).statistic
        assert kendall_tau_b(a[None], b[None])[0] == pytest.approx(expected)


def test_kendall_of_lists_of_one() -> None:
    assert kendall_tau_b(np.array([[3]]), np.array([[3]])).tolist() == [1.0]
    assert kendall_tau_b(np.array([[3]]), np.array([[4]])).tolist() == [-1.0]
