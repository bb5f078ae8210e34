"""What counts as the fault, and what proves nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.analysis.time_ratio import TimeRatio
from harness.analysis.time_verdict import PairTime
from harness.errors import UsageError
from harness.studies import criteria
from harness.studies.criteria import Differs, ImageFlips, ShareFlips, Slower
from harness.studies.minimise import Verdict

NAMES = ("a/1.png", "a/2.png", "b/2.png", "b/3.png")
RIGHT = [[9, 1], [3, 1], [0, 2], [1, 4]]


def _answers(scores, names=NAMES):
    return SimpleNamespace(
        scores=np.asarray(scores, np.float32),
        kind="logits",
        others=(),
        labels=None,
        names=names,
        count=len(names),
    )


def _flipped(*images):
    return _answers([row[::-1] if i in images else row for i, row in enumerate(RIGHT)])


def test_unasked_the_flip_that_is_surest_in_a_is_looked_for():
    found = criteria.choose(_answers(RIGHT), _flipped(1, 3), None)
    assert found == ImageFlips(3, "b/3.png")


def test_where_no_label_flips_half_of_the_largest_difference_is_looked_for():
    found = criteria.choose(_answers(RIGHT), _answers(np.float32(RIGHT) + np.float32(0.5)), None)
    assert found == Differs(0.25)


@pytest.mark.parametrize(("wanted", "index"), [("a/2.png", 1), ("3.png", 3), ("0", 0)])
def test_an_image_is_found_by_its_name_the_end_of_it_or_its_number(wanted, index):
    assert criteria.find_image(_answers(RIGHT), wanted) == index


@pytest.mark.parametrize(
    ("wanted", "said"), [("2.png", "Several images are"), ("x", "No image is")]
)
def test_names_of_several_or_no_images_are_refused(wanted, said):
    with pytest.raises(UsageError, match=said):
        criteria.find_image(_answers(RIGHT), wanted)


@pytest.mark.parametrize(
    ("criterion", "trial", "verdict"),
    [
        (ImageFlips(1, "a/2.png"), _flipped(1), Verdict.SHOWS),
        (ImageFlips(1, "a/2.png"), _flipped(2), Verdict.ABSENT),
        (ShareFlips(0.5), _flipped(0, 2), Verdict.SHOWS),
        (ShareFlips(0.5), _flipped(0), Verdict.ABSENT),
        (Differs(8), _flipped(0), Verdict.SHOWS),
        (Differs(8.1), _flipped(0), Verdict.ABSENT),
    ],
)
def test_answers_are_judged_against_a(criterion, trial, verdict):
    assert criteria.judge(criterion, _answers(RIGHT), trial)[0] is verdict


def test_what_is_not_finite_counts_as_a_difference():
    trial = _answers([[np.inf, 1], *RIGHT[1:]])
    assert criteria.judge(Differs(100), _answers(RIGHT), trial)[0] is Verdict.SHOWS


def _timings(ratio, low, valid=True):
    ratio = TimeRatio(ratio, low, ratio * 1.1, 20, 0.95, (), 0.01)
    reasons = () if valid else ({"kind": "drift", "message": "the clock fell", "key": None},)
    time = PairTime(ratio, valid=valid, reasons=reasons)
    return SimpleNamespace(measure=lambda *_: {"single_stream": time})


@pytest.mark.parametrize(
    ("ratio", "low", "valid", "verdict"),
    [
        (1.3, 1.2, True, Verdict.SHOWS),
        (1.05, 1.0, True, Verdict.ABSENT),
        (1.15, 1.05, True, Verdict.UNRESOLVED),
        (1.3, 1.1, True, Verdict.UNRESOLVED),
        (1.3, 0.9, True, Verdict.UNRESOLVED),
        (1.3, 1.2, False, Verdict.UNRESOLVED),
        (1.0, 0.9, False, Verdict.UNRESOLVED),
    ],
)
def test_time_is_a_proof_only_where_its_session_and_its_interval_are(ratio, low, valid, verdict):
    found, measured = criteria.judge_time(Slower(1.2), _timings(ratio, low, valid), "a", "b")
    assert found is verdict
    assert measured["time_ratio"] == ratio


def test_what_was_not_timed_proves_nothing():
    untimed = SimpleNamespace(measure=lambda *_: {})
    assert criteria.judge_time(Slower(1.2), untimed, "a", "b")[0] is Verdict.UNRESOLVED


@pytest.mark.parametrize(
    ("options", "criterion"),
    [
        ({"flips": "2%"}, ShareFlips(0.02)),
        ({"flips": "0.5"}, ShareFlips(0.5)),
        ({"max_diff": 0.1}, Differs(0.1)),
        ({"slower_than": 1.5}, Slower(1.5)),
        ({}, None),
    ],
)
def test_options_become_a_criterion(options, criterion):
    assert criteria.of_options(**options) == (None, criterion)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"flips": "0"}, "above 0"),
        ({"flips": "120%"}, "100 %"),
        ({"flips": "some"}, "no share"),
        ({"max_diff": 0.0}, "above 0"),
        ({"max_diff": float("nan")}, "above 0"),
        ({"slower_than": 1.0}, "above 1"),
        ({"image": "x", "flips": "2%"}, "two questions"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        criteria.of_options(**options)
