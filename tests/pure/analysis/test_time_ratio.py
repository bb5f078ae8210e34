"""Ratios of round medians: the interval, the test, Holm's correction."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.time_ratio import (
    DRAWS,
    holm,
    least_p,
    sign_flip_p,
    time_ratio,
    widening,
)


def rounds(values: np.ndarray) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def test_ratio_is_b_over_a_with_a_t_interval_on_the_log() -> None:
    a = {r: 100.0 + r for r in range(15)}
    b = {r: (200.0 + 2 * r) * (1 + 0.01 * (-1) ** r) for r in range(15)}
    found = time_ratio(a, b)
    logs = [math.log(b[r] / a[r]) for r in range(15)]
    low, high = stats.t.interval(0.95, 14, np.mean(logs), stats.sem(logs))
    assert found is not None
    assert found.ratio == pytest.approx(math.exp(np.mean(logs)))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.error == pytest.approx(stats.sem(logs))
    assert (found.rounds, found.notes, found.p) == (15, (), 2.0**-14)
    assert found.apart == pytest.approx(math.exp(np.mean(logs)) - 1)


def test_a_drift_common_to_both_cancels_because_rounds_are_paired() -> None:
    a = {r: 100.0 * 1.2**r for r in range(15)}
    b = {r: 150.0 * 1.2**r for r in range(15)}
    found = time_ratio(a, b)
    assert found is not None
    assert (found.ratio, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_disturbance_of_a_third_of_the_rounds_leaves_the_ratio_right() -> None:
    slow = np.where(np.arange(16) < 5, 3.0, 1.0)
    found = time_ratio(rounds(100 * slow), rounds(103 * slow))
    assert found is not None
    assert found.ratio == pytest.approx(1.03)


def test_few_rounds_are_noted_and_one_round_has_no_interval() -> None:
    found = time_ratio({0: 10.0}, {0: 20.0})
    assert found is not None
    assert (found.ratio, found.low, found.high, found.p) == (pytest.approx(2.0), None, None, None)
    assert found.notes == ("1 round, fewer than 15",)
    assert found.apart == pytest.approx(1.0)


def test_no_common_round_and_a_time_of_nothing_give_no_ratio() -> None:
    assert time_ratio({0: 10.0}, {1: 20.0}) is None
    assert time_ratio({0: 0.0}, {0: 20.0}) is None


def test_a_ratio_and_its_inverse_are_as_far_apart() -> None:
    one, other = rounds(np.full(16, 100.0)), rounds(np.full(16, 80.0))
    down, up = time_ratio(one, other), time_ratio(other, one)
    assert down is not None
    assert up is not None
    assert (down.apart, up.apart) == pytest.approx((0.25, 0.25))


def test_rounds_that_resemble_their_neighbours_widen_the_interval() -> None:
    drifting = np.repeat([0.0, 1.0], 8)
    mixed = np.tile([0.0, 1.0], 8)
    assert widening(mixed) == 1.0
    # lag 1: 13/16 of the variance; (13/16 + 1/16) / (1 - 3/16) is above the most believed, 0.9.
    assert widening(drifting) == pytest.approx(math.sqrt(1.9 / 0.1))
    one = np.full(16, 100.0)
    wide, narrow = (
        time_ratio(rounds(one), rounds(one * np.exp(0.01 * x))) for x in (drifting, mixed)
    )
    assert wide is not None
    assert narrow is not None
    assert wide.error == pytest.approx(narrow.error * math.sqrt(19))  # type: ignore[operator]
    assert "4.4 times as wide" in wide.notes[0]
    assert narrow.notes == ()


def test_the_widening_is_that_of_an_autoregressive_series() -> None:
    x = np.array([3.0, 1.0, 4.0, 3.0, 5.0, 9.0, 6.0, 7.0, 5.0, 3.0])
    rest = x - x.mean()
    lag = (rest[1:] @ rest[:-1]) / (rest @ rest)
    alike = (lag + 0.1) / 0.7
    assert 0 < alike < 0.9
    assert widening(x) == pytest.approx(math.sqrt((1 + alike) / (1 - alike)))


@pytest.mark.parametrize("values", [np.zeros(16), np.full(16, 0.5), np.arange(5.0)])
def test_nothing_is_widened_where_nothing_can_be_told(values: np.ndarray) -> None:
    assert widening(values) == 1.0


def test_every_way_of_flipping_signs_is_counted() -> None:
    values = np.array([0.3, -0.1, 0.25, 0.4, -0.05, 0.2])
    worlds = [abs(np.dot(s, values)) for s in itertools.product((1, -1), repeat=6)]
    expected = np.mean(np.array(worlds) >= abs(values.sum()) - 1e-12)
    assert sign_flip_p(values) == expected
    assert sign_flip_p(-values) == expected


def test_the_exact_p_value_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.4, 1, 11)
    found = stats.permutation_test(
        (values, np.zeros(11)),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert sign_flip_p(values) == pytest.approx(found.pvalue)


def test_many_rounds_are_drawn_with_a_seed_and_agree_with_the_exact_test() -> None:
    values = np.random.default_rng(5).normal(0.45, 1, 17)
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    exact = (np.abs(sums) >= abs(values.sum()) - 1e-12).mean()
    found = sign_flip_p(values)
    assert found == sign_flip_p(values)
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact / DRAWS))


def test_equal_cells_have_a_p_value_of_one_and_clear_ones_the_least() -> None:
    assert sign_flip_p(np.zeros(16)) == 1.0
    for count in (2, 15, 16, 40):
        assert sign_flip_p(np.full(count, 0.1)) == pytest.approx(least_p(count))


def test_holms_correction() -> None:
    # Holm 1979: 4 * .005, 3 * .01, then 2 * .03, and what follows is never less.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
