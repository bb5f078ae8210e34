"""From one cell's settings to another's, change by change."""

from __future__ import annotations

import itertools

import pytest

from harness.studies.changes import Change, alike, between, changes, without

KNOWN = {"disabled_passes": ["Fold", "Fuse", "Plan"], "passes": ["Fold", "Fuse", "Plan"]}


def _names(a, b, known=KNOWN):
    return [change.name for change in changes(a, b, known)]


def test_equal_settings_have_no_change_even_where_a_list_is_a_tuple():
    assert _names({"passes": ["Fold"], "x": 1}, {"passes": ("Fold",), "x": 1}) == []


def test_a_value_is_one_change_and_says_what_it_was_and_becomes():
    assert _names({"fast_math": False}, {"fast_math": True}) == ["fast_math: False → True"]
    assert _names({}, {"mcpu": "generic"}) == ["mcpu: not given → generic"]


def test_true_and_one_are_not_the_same():
    assert _names({"x": 1}, {"x": True}) == ["x: 1 → True"]


def test_lists_are_taken_apart_and_the_sign_says_what_runs_in_b():
    a, b = {"disabled_passes": ["Fold", "Fuse"]}, {"disabled_passes": ["Plan", "Fuse"]}
    assert _names(a, b) == ["+Fold", "-Plan"]
    assert _names({"passes": ["Fold"]}, {"passes": ["Fuse"]}) == ["-Fold", "+Fuse"]


def test_a_list_that_is_not_given_means_none_disabled_and_all_that_there_are():
    assert _names({"disabled_passes": ["Fold"]}, {}) == ["+Fold"]
    assert _names({"passes": []}, {}) == ["+Fold", "+Fuse", "+Plan"]


def test_passes_that_are_not_given_are_those_that_run_unasked_and_more_can_be_added():
    known = {"disabled_passes": ["Fuse", "Plan"], "passes": ["Convert", "Fold", "Fuse", "Plan"]}
    a, b = {}, {"passes": ["Fold", "Fuse", "Plan"]}
    found = changes(a, b, known)
    assert [change.name for change in found] == ["+Fold"]
    assert between(a, b, found, known) == b


def test_passes_that_run_and_passes_that_do_not_are_brought_to_the_same_terms():
    known = {"disabled_passes": ["Fuse", "Plan"], "passes": ["Fold", "Fuse", "Plan"]}
    a, b = alike({"disabled_passes": ["Plan"], "x": 1}, {"passes": ["Fold", "Plan"]}, known)
    assert a == {"x": 1, "passes": ["Fuse"]}
    assert [c.name for c in changes(a, b, known)] == [
        "-Fuse", "+Fold", "+Plan", "x: 1 → not given",
    ]  # fmt: skip


def test_settings_in_the_same_terms_stay_as_they_are():
    a, b = {"disabled_passes": ["Plan"]}, {"fast_math": True}
    assert alike(a, b, KNOWN) == (a, b)


def test_without_known_names_all_passes_against_some_are_one_change():
    assert _names({"passes": ["Fold"]}, {}, {}) == ["passes: Fold → not given"]


def test_another_order_of_the_same_names_is_one_change():
    a, b = {"passes": ["Fold", "Fuse"]}, {"passes": ["Fuse", "Fold"]}
    found = changes(a, b, KNOWN)
    assert [change.kind for change in found] == ["value"]
    assert between(a, b, found, KNOWN) == b


def test_mappings_are_taken_apart_entry_by_entry():
    a, b = {"variables": {"X": "1", "Y": "2"}}, {"variables": {"Y": "3", "X": "1", "Z": ""}}
    assert _names(a, b) == ["variables.Y: 2 → 3", "variables.Z: not given → "]


A = {"fast_math": False, "disabled_passes": ["Fold", "Fuse"], "variables": {"X": "1"}, "gone": 1}
B = {"fast_math": True, "disabled_passes": ["Plan"], "variables": {"X": "2", "Y": "1"}}


def test_no_change_gives_a_and_all_changes_give_b():
    found = changes(A, B, KNOWN)
    assert between(A, B, [], KNOWN) == A
    assert between(A, B, found, KNOWN) == B


@pytest.mark.parametrize("number", [1, 2, 3])
def test_between_a_and_b_each_chosen_change_and_no_other_is_made(number):
    found = changes(A, B, KNOWN)
    for chosen in itertools.combinations(found, number):
        made = changes(A, between(A, B, chosen, KNOWN), KNOWN)
        assert {change.name for change in made} == {change.name for change in chosen}


def test_one_name_of_a_list_is_moved_alone():
    change = Change("+Fold", "disabled_passes", "member", "Fold")
    assert between(A, B, [change], KNOWN)["disabled_passes"] == ["Fuse"]


def test_more_passes_are_switched_off_once_each():
    assert without({"disabled_passes": ["Fold"], "x": 1}, ["Fuse", "Fold"]) == {
        "disabled_passes": ["Fold", "Fuse"],
        "x": 1,
    }
