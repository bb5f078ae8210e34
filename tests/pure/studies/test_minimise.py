"""Delta debugging, on faults that are known."""

from __future__ import annotations

import itertools

import pytest

from harness.studies.minimise import Run, Verdict, minimal_set, shortest_run

NAMES = tuple("abcdefghijklmnop")


def _shown_by(*guilty: str):
    def test(names):
        return Verdict.SHOWS if set(guilty) <= names else Verdict.ABSENT

    return test


@pytest.mark.parametrize("guilty", [*NAMES])
def test_one_guilty_name_is_found_wherever_it_stands(guilty):
    assert minimal_set(NAMES, _shown_by(guilty)).found == (guilty,)


def test_one_of_sixteen_is_found_in_two_trials_a_halving():
    assert minimal_set(NAMES, _shown_by("p")).trials == 8


@pytest.mark.parametrize("guilty", [*itertools.combinations("adhp", 2), tuple("bgkn")])
def test_names_that_are_guilty_only_together_are_found_together_and_in_order(guilty):
    assert minimal_set(NAMES, _shown_by(*guilty)).found == guilty


def test_of_two_causes_that_suffice_alone_one_is_found():
    def test(names):
        return Verdict.SHOWS if names & {"c", "m"} else Verdict.ABSENT

    assert minimal_set(NAMES, test).found in {("c",), ("m",)}


def test_no_name_of_what_is_found_can_be_left_out_even_where_the_fault_comes_and_goes():
    def test(names):
        # Not monotonous: `e` hides it unless `f` is there too.
        hidden = "e" in names and "f" not in names
        return Verdict.SHOWS if {"b", "j"} <= names and not hidden else Verdict.ABSENT

    found = minimal_set(NAMES, test).found
    assert test(frozenset(found)) is Verdict.SHOWS
    for name in found:
        assert test(frozenset(found) - {name}) is Verdict.ABSENT


def test_every_set_is_tried_once():
    asked = []

    def test(names):
        asked.append(names)
        return _shown_by("b", "k", "o")(names)

    assert minimal_set(NAMES, test).trials == len(asked) == len(set(asked))


def test_what_crashes_is_no_proof_and_smaller_sets_that_crashed_are_told():
    def test(names):
        if "c" in names and "d" not in names:  # d makes what c needs
            return Verdict.UNRESOLVED
        return _shown_by("c")(names)

    found = minimal_set("abcd", test)
    assert found.found == ("c", "d")
    assert found.unresolved == (frozenset("c"),)


def test_a_single_name_needs_no_trial():
    assert minimal_set(("a",), _shown_by("a")).trials == 0


@pytest.mark.parametrize("names", [(), ("a", "a")])
def test_names_that_are_none_or_doubled_are_refused(names):
    with pytest.raises(ValueError, match="each once"):
        minimal_set(names, _shown_by("a"))


@pytest.mark.parametrize(("first", "last"), [(0, 0), (6, 6), (12, 12), (3, 5), (5, 7), (0, 12)])
def test_the_shortest_run_of_places_is_found_wherever_it_lies(first, last):
    def shows(run):
        return run.first <= first and run.last >= last

    assert shortest_run(13, shows) == Run(first, last)


def test_a_run_among_a_hundred_places_is_found_in_few_trials():
    asked = []

    def shows(run):
        asked.append(run)
        return run.first <= 63 <= run.last

    assert shortest_run(100, shows) == Run(63, 63)
    assert len(asked) <= 14
    assert len(asked) == len(set(asked))


def test_a_fault_that_adds_up_over_places_keeps_as_many_as_it_needs():
    assert shortest_run(40, lambda run: run.length >= 7).length == 7


def test_no_places_are_refused():
    with pytest.raises(ValueError, match="no places"):
        shortest_run(0, bool)
