"""Wilson's interval and McNemar's exact test."""

from __future__ import annotations

import pytest
from scipy import stats

from harness.analysis.significance import mcnemar_exact, wilson


@pytest.mark.parametrize(("count", "total"), [(0, 500), (1, 500), (22, 500), (500, 500), (3, 7)])
def test_wilson_equals_scipy(count: int, total: int) -> None:
    expected = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_refuses_what_is_no_proportion() -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson(1, 0)


def test_mcnemar_exact_is_the_two_sided_binomial_test_on_discordant_images() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0
    assert mcnemar_exact(0, 7) == pytest.approx(2 * 0.5**7)
    assert mcnemar_exact(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
