"""The word for a pass, from its two arms."""

from __future__ import annotations

import pytest

from harness.studies.effects import EFFECTS, Change, effect_of, operators_changed

BOTH = ("alone", "without")


def row(inert, status="done", kind=None):
    return {"inert": inert, "status": status, "kind": kind}


@pytest.mark.parametrize(
    ("alone", "without", "word"),
    [
        (True, True, "inert"),
        (False, True, "redundant"),
        (True, False, "together"),
        (False, False, "acts"),
        (None, False, "unknown"),
        (True, None, "unknown"),
    ],
)
def test_the_word_is_told_from_both_arms(alone, without, word):
    assert effect_of({"alone": row(alone), "without": row(without)}, BOTH) == word
    assert word in EFFECTS


def test_a_pass_of_which_one_arm_failed_fails_whatever_the_other_did():
    arms = {"alone": row(True), "without": row(None, "failed", "signal")}
    assert effect_of(arms, BOTH) == "fails"


def test_what_cannot_be_asked_for_is_refused_and_no_failure_of_the_pass():
    assert effect_of({"alone": row(None, "skipped"), "without": row(True)}, BOTH) == "refused"
    refused = row(None, "failed", "unsupported")
    assert effect_of({"alone": refused, "without": row(True)}, BOTH) == "refused"
    assert effect_of({"alone": refused, "without": row(None, "failed", "signal")}, BOTH) == "fails"


def test_nothing_is_called_inert_from_one_arm_where_there_is_another():
    assert effect_of({"alone": row(True)}, BOTH) == "half"
    assert effect_of({"alone": row(False)}, BOTH) == "acts"
    assert effect_of({"alone": row(True)}, ("alone",)) == "inert"
    assert effect_of({}, BOTH) == "untried"


def test_inert_needs_the_same_program_and_the_same_bits():
    assert Change(same_form=True, identical=True).inert is True
    assert Change(same_form=True, identical=False).inert is False
    assert Change(same_form=False, identical=True).inert is False
    assert Change(same_form=None, identical=True).inert is None
    assert Change(same_form=True, identical=None).inert is None


def test_a_file_that_was_not_changed_is_proof_without_a_compiled_form():
    assert Change(same_form=None, identical=True, same_file=True).inert is True
    assert Change(same_form=None, identical=True, same_file=False).inert is None


def test_what_is_no_plain_change_is_said():
    assert Change(True, True).said == "changes nothing: same compiled form"
    assert Change(True, True, same_file=False).said == "changes the file, same compiled form"
    assert Change(True, identical=False).said == "same compiled form, other answers"
    assert Change(None, identical=False).said == "compiled form not shown by its library"
    assert Change(same_form=False, identical=False).said == ""


def test_operators_are_told_by_how_many_came_and_went():
    before, after = {"Conv": 52, "Relu": 35}, {"Conv": 17, "FusedConv": 35}
    assert operators_changed(before, after) == {"Conv": -35, "FusedConv": 35, "Relu": -35}
    assert operators_changed(before, before) == {}


def test_another_form_proves_nothing_where_the_same_gives_another_form_each_time():
    unsteady = Change(same_form=False, identical=True, steady=False)
    assert (unsteady.inert, unsteady.said) == (None, "other form, same answers; not deterministic")
    assert Change(same_form=False, identical=True, steady=True).inert is False
    assert Change(same_form=False, identical=False, steady=False).inert is False
    assert Change(same_form=True, identical=True, steady=False).inert is True
    assert Change(same_form=False, identical=True, same_file=True, steady=False).inert is True
