"""The gate's rules."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.agreement import PlainAnswers, PlainOutput, compare
from harness.analysis.gate import METRICS, parse, undecided, violations
from harness.analysis.pair_agreement import PairAgreement
from harness.analysis.time_verdict import NOT_TIMED, TimeVerdict
from harness.errors import UsageError


def pair(flips: int = 1, images: int = 1000, labels: bool = True) -> PairAgreement:
    x = np.zeros((images, 3), dtype=np.float32)
    x[:, 0] = 1
    y = x.copy()
    y[:flips, 1] = 2
    truth = [0] * images if labels else None
    return compare(PlainAnswers(x), PlainAnswers(y), truth)


def broken(rule: str, found: PairAgreement, time: TimeVerdict | None = None) -> list[str]:
    return [v.message for v in violations([parse(rule)], found, time)]


def test_a_count_and_a_share_of_flips() -> None:
    assert broken("flips > 0", pair()) == ["flips is 1 of 1000 (rule: flips > 0)"]
    assert broken("flips > 1", pair()) == []
    assert broken("flips > 0.05%", pair()) == ["flips is 1 of 1000, 0.1 % (rule: flips > 0.05%)"]


def test_the_limit_is_exact() -> None:
    assert broken("flips > 0.1%", pair(1, 1000)) == []
    assert broken("flips >= 0.1%", pair(1, 1000))
    assert broken("flips > 0.3%", pair(3, 1000)) == []
    assert broken("flips>0.7 %", pair(7, 1000)) == []


def test_flipped_images_are_to_blame() -> None:
    (violation,) = violations([parse("flips > 0")], pair(3), None)
    assert violation.images == (0, 1, 2)


def test_images_beyond_the_limit_are_to_blame_for_a_difference() -> None:
    (violation,) = violations([parse("max_abs_diff > 1e-3")], pair(2), None)
    assert (violation.value, violation.images) == (2.0, (0, 1))


def test_accuracy_drop_in_points() -> None:
    assert broken("top1_drop > 0.1%", pair(2))
    assert broken("accuracy_drop > 0.002", pair(2, 1000)) == []
    assert broken("top1_drop > 0.5%", pair(2)) == []


def test_operators_below() -> None:
    assert broken("cosine < 0.999999", pair(5))
    assert broken("jaccard <= 1", pair())
    assert broken("tau < 0.5", pair()) == []


@pytest.mark.parametrize("rule", ["time_ratio > 1.05", "top1_drop > 0", "mcnemar_p < 0.05"])
def test_what_could_not_be_measured_is_never_a_pass(rule: str) -> None:
    (message,) = broken(rule, pair(labels=False))
    assert "could not be measured" in message


def test_labels_that_are_nan_in_both_are_never_a_pass() -> None:
    x = np.full((4, 3), np.nan, dtype=np.float32)
    found = compare(PlainAnswers(x), PlainAnswers(x))
    for rule in ("flips > 0", "max_abs_diff > 1", "jaccard < 0.1", "cosine < 0.1", "kl > 9"):
        assert "could not be measured" in broken(rule, found)[0]
    assert broken("nonfinite > 0", found)


def test_flips_of_a_model_without_scores_could_not_be_measured() -> None:
    x = PlainAnswers(None, "values", [PlainOutput("y", np.ones((3, 2)))])
    assert "could not be measured" in broken("flips > 0", compare(x, x))[0]
    assert broken("max_abs_diff > 0", compare(x, x)) == []


def test_time_ratio() -> None:
    time = TimeVerdict("slower", 1.2, 1.1, 1.3, valid=True)
    assert broken("time_ratio > 1.1", pair(), time)
    assert broken("time_ratio > 110%", pair(), time)
    assert broken("time_ratio > 1.25", pair(), time) == []


def test_slower_counts_only_what_is_claimed() -> None:
    assert broken("slower > 0", pair(), TimeVerdict("slower", 1.2, 1.1, 1.3, valid=True))
    assert broken("slower > 25%", pair(), TimeVerdict("slower", 1.2, 1.1, 1.3)) == []
    for word in ("no-difference", "faster"):
        seen = TimeVerdict(word, 1.2, 0.9, 1.3, smallest_visible=0.3)
        assert broken("slower > 0", pair(), seen) == []
    # Over a handful of rounds nothing is ever claimed.
    blind = TimeVerdict("no-difference", 3.0, 2.9, 3.1, smallest_visible=None)
    for time in (None, NOT_TIMED, TimeVerdict("unknown", 1.2), blind):
        assert "could not be measured" in broken("slower > 0", pair(), time)[0]


@pytest.mark.parametrize("rule", ["time_ratio > 9", "time_ratio > 1", "slower > 0"])
def test_an_invalid_time_neither_breaks_nor_keeps_a_rule(rule: str) -> None:
    reasons = ({"kind": "drift", "message": "it drifts", "key": None},)
    time = TimeVerdict("unknown", 1.2, 1.1, 1.3, valid=False, reasons=reasons)
    assert broken(rule, pair(), time) == []
    (found,) = undecided([parse(rule), parse("flips > 5")], time)
    assert found.rule == rule
    assert found.message == (
        f"{found.metric} cannot be told, its time is INVALID: it drifts (rule: {rule})"
    )
    assert broken("flips > 0", pair(), time)


@pytest.mark.parametrize("time", [None, NOT_TIMED, TimeVerdict("slower", 1.2, 1.1, 1.3)])
def test_only_an_invalid_time_leaves_a_rule_undecided(time: TimeVerdict | None) -> None:
    assert undecided([parse("time_ratio > 1")], time) == []


@pytest.mark.parametrize("text", ["", "flips", "flips = 3", "flips > x", "flips > nan", "> 3"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        parse(text)


def test_an_unknown_metric_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match="no metric flipz") as caught:
        parse("flipz > 3")
    assert all(name in caught.value.remedy for name in METRICS)


def test_a_percentage_of_a_difference_is_refused() -> None:
    with pytest.raises(UsageError, match="no percentage"):
        parse("max_abs_diff > 1%")
