"""Guilty passes, planted in a compiler that is a function."""

from __future__ import annotations

import pytest
from support.fake_trials import CompilerCrashed, FakeTrials

from harness.errors import UsageError
from harness.progress import SilentProgress
from harness.studies.bisect_passes import bisect_passes
from harness.studies.criteria import Fails, ImageFlips, ShareFlips
from harness.studies.minimise import Verdict

PASSES = ("Fold", "Fuse", "Inline", "Layout", "Plan", "Vectorise")
RIGHT = [[3.0, 1.0], [0.0, 2.0], [5.0, 1.0], [1.0, 4.0]]
WRONG = [[1.0, 3.0], *RIGHT[1:]]


def _runs(settings, name):
    if settings.get("level") == "none":
        return False
    return name not in (settings.get("disabled_passes") or ())


def _find(answer, a, b, **options):
    trials = FakeTrials(answer, {"disabled_passes": PASSES}, options.pop("ran", lambda _: None))
    progress = SilentProgress()
    return bisect_passes(trials, a, b, progress, **options), progress


def test_the_one_guilty_pass_is_named():
    def answer(settings):
        return WRONG if _runs(settings, "Layout") else RIGHT

    found, _ = _find(answer, {"disabled_passes": list(PASSES)}, {})
    assert [change.name for change in found.guilty] == ["+Layout"]
    assert found.smallest == {"disabled_passes": [n for n in PASSES if n != "Layout"]}
    assert found.criterion == ImageFlips(0, "images/0.png")
    assert found.needed is None


def test_two_passes_that_are_guilty_together_are_both_named():
    def answer(settings):
        return WRONG if _runs(settings, "Fold") and _runs(settings, "Vectorise") else RIGHT

    found, _ = _find(answer, {"disabled_passes": list(PASSES)}, {"disabled_passes": ["Plan"]})
    assert [change.name for change in found.guilty] == ["+Fold", "+Vectorise"]


def test_behind_a_level_the_pass_is_named_that_has_to_run():
    def answer(settings):
        return WRONG if _runs(settings, "Inline") else RIGHT

    found, _ = _find(answer, {"level": "none"}, {"level": "all"})
    assert [change.name for change in found.guilty] == ["level: none → all"]
    assert found.needed.passes == ("Inline",)
    assert found.needed.of == len(PASSES)
    assert not _runs(found.smallest, "Fuse")


def test_only_passes_that_ran_are_searched_where_the_library_tells_which():
    def answer(settings):
        return WRONG if _runs(settings, "Inline") else RIGHT

    found, _ = _find(
        answer, {"level": "none"}, {"level": "all"}, ran=lambda _: ("Inline", "Fold", "Lower")
    )
    assert (found.needed.passes, found.needed.of) == (("Inline",), 2)


def test_a_setting_that_shows_it_without_any_pass_is_said_to():
    def answer(settings):
        return WRONG if settings.get("fast_math") else RIGHT

    found, _ = _find(answer, {}, {"fast_math": True, "disabled_passes": ["Plan"]})
    assert [change.name for change in found.guilty] == ["fast_math: not given → True"]
    assert found.needed.passes == ()
    assert "every pass off" in found.needed.reason
    assert found.rest.verdict is Verdict.ABSENT


def test_what_is_found_is_not_the_only_cause_where_b_shows_it_without():
    def answer(settings):
        return WRONG if _runs(settings, "Fold") or _runs(settings, "Plan") else RIGHT

    found, _ = _find(answer, {"disabled_passes": list(PASSES)}, {})
    assert len(found.guilty) == 1
    assert found.rest.verdict is Verdict.SHOWS


def test_a_crash_is_bisected_where_b_has_no_answers():
    def answer(settings):
        if _runs(settings, "Fuse") and _runs(settings, "Plan"):
            raise CompilerCrashed("ended by SIGSEGV")
        return RIGHT

    found, _ = _find(answer, {"disabled_passes": list(PASSES)}, {})
    assert found.criterion == Fails("signal", "ended by SIGSEGV")
    assert [change.name for change in found.guilty] == ["+Fuse", "+Plan"]


def test_a_trial_that_crashes_is_no_proof_and_the_rest_goes_on():
    def answer(settings):
        if _runs(settings, "Layout") and not _runs(settings, "Fold"):
            raise CompilerCrashed("ended by SIGSEGV")
        return WRONG if _runs(settings, "Layout") else RIGHT

    found, _ = _find(answer, {"disabled_passes": list(PASSES)}, {})
    assert [change.name for change in found.guilty] == ["+Fold", "+Layout"]
    assert found.unresolved == 1


def test_a_share_of_labels_is_reached_by_fewer_passes_than_all():
    flipping = {"Fold": 0, "Fuse": 1, "Layout": 2}

    def answer(settings):
        rows = [list(row) for row in RIGHT]
        for name, image in flipping.items():
            if _runs(settings, name):
                rows[image].reverse()
        return rows

    found, _ = _find(answer, {"disabled_passes": list(PASSES)}, {}, criterion=ShareFlips(0.5))
    assert len(found.guilty) == 2
    assert {change.member for change in found.guilty} < set(flipping)


def test_every_trial_is_told_with_its_verdict_and_what_it_rests_on():
    def answer(settings):
        return WRONG if _runs(settings, "Layout") else RIGHT

    found, progress = _find(answer, {"disabled_passes": list(PASSES)}, {})
    assert progress.notes[0] == "Looking for: the label of images/0.png differs from A's."
    told = [note for note in progress.notes if note.startswith("Trial")]
    assert len(told) == found.trials
    assert any("A with +Layout: shows (1 flip, differs by 2)" in note for note in told)


def test_equal_settings_are_refused_with_what_to_do():
    with pytest.raises(UsageError, match="no pass can be to blame") as caught:
        _find(lambda _: RIGHT, {"x": 1}, {"x": 1})
    assert "bisect operators" in caught.value.remedy


def test_cells_that_agree_are_refused():
    with pytest.raises(UsageError, match="nothing to look for"):
        _find(lambda _: RIGHT, {}, {"x": 1})


def test_an_image_that_does_not_flip_is_refused_and_those_that_do_are_listed():
    def answer(settings):
        return WRONG if settings else RIGHT

    with pytest.raises(UsageError, match="same in both") as caught:
        _find(answer, {}, {"x": 1}, image="3.png")
    assert "images/0.png" in caught.value.remedy


def test_a_without_answers_is_refused():
    def answer(settings):
        if not settings:
            raise CompilerCrashed("gone")
        return RIGHT

    with pytest.raises(UsageError, match="A has no answers") as caught:
        _find(answer, {}, {"x": 1})
    assert "Exchange the two" in caught.value.remedy


def test_two_cells_without_answers_are_not_to_be_exchanged():
    def answer(settings):
        raise CompilerCrashed("gone")

    with pytest.raises(UsageError, match="B has none either") as caught:
        _find(answer, {}, {"x": 1})
    assert "Exchange" not in caught.value.remedy


def test_what_b_does_not_show_is_refused():
    def answer(settings):
        return WRONG if settings else RIGHT

    with pytest.raises(UsageError, match="B does not show it"):
        _find(answer, {}, {"x": 1}, criterion=ShareFlips(0.5))


@pytest.mark.parametrize("other", ["ended by SIGABRT", "ended by SIGSEGV while it read the file"])
def test_another_failure_of_the_same_kind_is_no_proof(other):
    def answer(settings):
        if _runs(settings, "Fuse") and _runs(settings, "Plan"):
            raise CompilerCrashed("ended by SIGSEGV")
        if _runs(settings, "Fuse"):
            raise CompilerCrashed(other)
        return RIGHT

    found, _ = _find(answer, {"disabled_passes": list(PASSES)}, {})
    assert [change.name for change in found.guilty] == ["+Fuse", "+Plan"]
    assert found.unresolved == 1


def test_no_image_is_looked_for_where_b_failed():
    def answer(settings):
        if settings:
            raise CompilerCrashed("ended by SIGSEGV")
        return RIGHT

    with pytest.raises(UsageError, match=r"no label of 0\.png can flip") as caught:
        _find(answer, {}, {"x": 1}, image="0.png")
    assert "Leave --image away" in caught.value.remedy
