"""The measures of the original work."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.time_parity import anova, parity


def test_both_percentages_say_what_they_are_divided_by() -> None:
    found = parity(np.full(4, 100.0), np.full(6, 520.0))
    by = {one["denominator"]: one for one in found["percentages"]}
    own = by["the reference's mean time"]
    assert (own["value"], own["formula"]) == (pytest.approx(420), "100 * (t_b - t_a) / t_a")
    slower = by["the slower one's mean time"]
    # "81 % degradation" is a slow-down of 5.2 times.
    assert (round(slower["value"]), slower["formula"]) == (81, "100 * (t_b - t_a) / t_b")
    faster = parity(np.full(4, 520.0), np.full(6, 100.0))["percentages"][1]
    assert (round(faster["value"]), faster["formula"]) == (-81, "100 * (t_b - t_a) / t_a")


def test_a12_is_how_probably_b_takes_longer() -> None:
    a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 5])
    found = parity(a, b)
    wins = [(y > x) + 0.5 * (y == x) for x in a for y in b]
    assert found["a12"] == pytest.approx(np.mean(wins))
    assert found["mann_whitney_p"] == pytest.approx(
        stats.mannwhitneyu(a, b, method="asymptotic").pvalue
    )
    assert (found["samples_a"], found["samples_b"]) == (4, 3)
    assert parity(b, a)["a12"] == pytest.approx(1 - found["a12"])


@pytest.mark.parametrize(
    ("shift", "size"), [(0, "negligible"), (20, "small"), (35, "medium"), (90, "large")]
)
def test_sizes_are_vargha_and_delaneys(shift: int, size: str) -> None:
    a = np.arange(200.0)
    assert parity(a, a + shift)["a12_size"] == size


def test_anova_is_over_all_groups_and_absent_where_nothing_varies() -> None:
    groups = [np.array([1.0, 2, 3]), np.array([2.0, 4, 6]), np.array([1.0, 1, 2])]
    f, p = anova(groups)
    assert (f, p) == pytest.approx(tuple(stats.f_oneway(*groups)))
    assert anova([np.ones(3), np.full(3, 2.0)]) == (None, None)
    found = parity(np.ones(3), np.ones(3))
    assert (found["anova_p"], found["mann_whitney_p"], found["a12"]) == (None, 1.0, 0.5)
