"""What may be said of times, and what may not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.analysis.time_ratio import TimeRatio, time_ratio
from harness.analysis.time_verdict import NOT_JUDGED, PairTime, TimeVerdict, inert, judge

SPREAD = np.tile([0.004, -0.004], 8)


def timed(ratio: float, spread: np.ndarray = SPREAD, **more: Any) -> PairTime:
    """A pair whose log ratios lie around log(ratio)."""
    one = dict.fromkeys(range(len(spread)), 100.0)
    other = {r: 100.0 * ratio * math.exp(e) for r, e in enumerate(spread)}
    found = time_ratio(one, other)
    assert found is not None
    return PairTime(found, **{"valid": True, **more})


def alone(one: PairTime) -> TimeVerdict:
    (found,) = judge([one])
    return found


@pytest.mark.parametrize(
    ("ratio", "floor", "word"),
    [
        (1.05, 0.01, "slower"),
        (0.95, 0.01, "faster"),
        (1.05, 0.06, "no-difference"),
        (0.95, 0.06, "no-difference"),
        (1.005, 0.01, "no-difference"),
        (1.011, 0.01, "no-difference"),  # its interval begins below the floor
        (1.015, 0.01, "slower"),
        (1 / 1.015, 0.01, "faster"),
    ],
)
def test_a_claim_needs_the_whole_interval_beyond_the_floor(
    ratio: float, floor: float, word: str
) -> None:
    found = alone(timed(ratio, floor=floor))
    assert (found.verdict, found.floor, found.valid) == (word, floor, True)
    assert found.ratio == pytest.approx(ratio)


def test_a_clear_interval_without_a_significant_test_claims_nothing() -> None:
    # Five rounds: no way of flipping their signs is rarer than 1/16.
    found = alone(timed(2.0, SPREAD[:5]))
    assert found.low is not None
    assert found.low > 1.9
    assert (found.verdict, found.p, found.smallest_visible) == ("no-difference", 1 / 16, None)


def test_the_family_is_corrected_together() -> None:
    noisy = np.tile([0.03, -0.03], 8)
    clear = timed(1.5)
    borderline = timed(1.025, noisy)
    single = alone(borderline)
    assert single.p is not None
    assert single.p < 0.05 < 19 * single.p
    assert (single.family, single.p_holm) == (1, single.p)
    _, found, *_ = judge([clear, borderline, *[timed(1.0, noisy)] * 18])
    assert (found.family, found.p) == (20, single.p)
    assert found.p_holm == pytest.approx(19 * single.p)
    assert found.smallest_visible is not None
    assert single.smallest_visible is not None
    assert found.smallest_visible > single.smallest_visible


def test_an_invalid_time_says_nothing_and_does_not_count_in_its_family() -> None:
    reasons = ({"kind": "drift", "message": "it drifts", "key": "b"},)
    invalid, other = judge([timed(1.5, valid=False, reasons=reasons), timed(1.5)])
    assert (invalid.verdict, invalid.p_holm, invalid.smallest_visible) == ("unknown", None, None)
    assert invalid.ratio == pytest.approx(1.5)
    assert invalid.document()["reasons"] == list(reasons)
    assert (other.verdict, other.family) == ("slower", 1)


def test_a_time_that_nobody_judged_has_its_verdict_with_a_note() -> None:
    found = alone(timed(1.5, valid=None))
    assert (found.verdict, found.valid) == ("slower", None)
    assert NOT_JUDGED in found.notes


def test_one_round_says_nothing() -> None:
    found = alone(PairTime(TimeRatio(2.0, None, None, 1), valid=True))
    assert (found.verdict, found.p, found.ratio) == ("unknown", None, 2.0)
    assert found.reasons[0]["message"] == "one round only: no interval"


def test_the_smallest_visible_difference_is_where_claims_begin() -> None:
    floor = 0.02
    visible = alone(timed(1.0, floor=floor)).smallest_visible
    assert visible is not None
    error = stats.sem(SPREAD)
    assert visible == pytest.approx(1.02 * math.exp(stats.t.ppf(0.975, 15) * error) - 1)
    assert alone(timed(1 + 1.001 * visible, floor=floor)).verdict == "slower"
    assert alone(timed(1 + 0.999 * visible, floor=floor)).verdict == "no-difference"


def test_what_was_not_seen_is_never_larger_than_what_could_have_been() -> None:
    heavy = np.zeros(16)
    heavy[:3] = 0.5
    found = alone(timed(1.0, heavy))
    assert (found.verdict, found.ratio) == ("no-difference", pytest.approx(math.exp(1.5 / 16)))
    assert found.smallest_visible is not None
    assert found.smallest_visible >= found.ratio - 1  # type: ignore[operator]


def test_claims_over_equal_cells_are_rare_whatever_the_noise() -> None:
    """Seeded: 200 families of one, of every kind of noise that the interval is built for."""
    drawn = np.random.default_rng(11)
    for noise in (
        lambda: drawn.normal(0, 0.03, 16),
        lambda: 0.02 * drawn.standard_t(2, 16),
        lambda: drawn.lognormal(-4, 1.2, 16) - drawn.lognormal(-4, 1.2, 16),
    ):
        words = [alone(timed(1.0, noise())).verdict for _ in range(200)]
        assert words.count("faster") + words.count("slower") <= 4


def test_a_large_difference_is_claimed_though_rounds_resemble_their_neighbours() -> None:
    drifting = np.repeat([-0.02, 0.02], 8)
    clear, *_ = judge([timed(2.0, drifting)] + [timed(1.0)] * 11)
    assert (clear.verdict, clear.family) == ("slower", 12)
    assert "times as wide" in clear.notes[0]


@pytest.mark.parametrize("valid", [True, False, None])
def test_of_one_program_nothing_is_claimed_however_valid_and_far_apart(valid: bool | None) -> None:
    found = inert(timed(1.4, valid=valid))
    assert (found.verdict, found.family, found.p_holm) == ("inert", 0, None)
    assert found.smallest_visible is None
    assert found.ratio == pytest.approx(1.4)
    assert found.valid is valid


def test_one_program_in_one_round_is_inert_all_the_same() -> None:
    found = inert(timed(1.4, spread=np.zeros(1)))
    assert (found.verdict, found.low) == ("inert", None)
