"""An ablation of a compiler that is not there: its tables, its words, what it refuses to say."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from support.planted_passes import Crash, PlantedTrials, Program
from support.small_model import FEATURES, write_model
from support.store_factory import StoreFactory

from harness.cli.ablate import _status
from harness.errors import ModelError, UsageError
from harness.progress import SilentProgress
from harness.report.ablation import (
    Section,
    ablation_markdown,
    by_effect,
    inert_in_words,
    print_ablation,
    sections,
)
from harness.report.ablation_page import render
from harness.store import layout
from harness.studies import ablation as module
from harness.studies.ablation import ablate
from harness.studies.ablation_findings import headline
from harness.studies.pass_names import known_passes, stand_in

NAMES = ("Fuse", "FoldBatchNorm", "Idle", "Second", "Crasher")


def compiler(passes):
    """Fuse is faster; folding shifts scores and flips two; Second works on what Fuse leaves."""
    if "Crasher" in passes and "Fuse" not in passes:
        raise Crash("the compiler was ended by signal 11")
    operators = {"Conv": 4, "BatchNorm": 4, "Relu": 4}
    shift, flips, ns = 0.0, 0, 1_000_000
    if "FoldBatchNorm" in passes:
        operators["BatchNorm"] = 0
        shift, flips = 1e-3, 2
    if "Fuse" in passes:
        operators["Relu"], ns = 0, 500_000
        if "Second" in passes:
            operators["Conv"], ns = 2, 400_000
    return Program(operators, shift, flips, ns)


@pytest.fixture
def trials(tmp_path):
    return PlantedTrials(StoreFactory(tmp_path), NAMES, compiler)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The trials and the document of a whole ablation, for tests that only look."""
    made = PlantedTrials(StoreFactory(tmp_path_factory.mktemp("store")), NAMES, compiler)
    return made, run(made)


def run(trials, **more):
    return ablate(trials, SilentProgress(), **more)


def effects(document):
    return {one["name"]: one["effect"] for one in document["passes"]}


def row_of(document, label):
    return next(row for row in document["rows"] if row["label"] == label)


def test_each_pass_gets_the_word_for_what_it_does(finished):
    _, document = finished
    assert effects(document) == {
        "Fuse": "fails",  # without it, Crasher brings the compiler down
        "FoldBatchNorm": "acts",
        "Idle": "inert",
        "Second": "together",
        "Crasher": "fails",
    }
    assert document["complete"] is True
    assert (
        document["headline"] == "Of 5 passes: 1 acting, 1 acting only together, 2 failing, 1 inert"
    )


def test_only_what_was_compiled_to_something_else_is_timed_and_against_its_own_reference(finished):
    trials, _ = finished
    timed = [labels for labels, with_times in trials.batches if with_times]
    assert timed == [
        ["all off", "all on", "only Fuse", "only FoldBatchNorm"],
        ["all on", "all but FoldBatchNorm", "all but Second"],
    ]


def test_what_is_inert_answers_the_first_look_alone_and_what_acts_all_images(tmp_path):
    trials = PlantedTrials(StoreFactory(tmp_path), NAMES, compiler)
    document = run(trials, first_look=3)
    looked = [label for labels, _ in trials.looking.batches for label in labels]
    assert len(looked) == 2 + 2 * len(NAMES)
    assert not any(with_times for _, with_times in trials.looking.batches)
    answered = [label for labels, timed in trials.batches for label in labels if not timed]
    alone = ["all off", "all on", "only Fuse", "only FoldBatchNorm"]
    assert answered == [*alone, "all but FoldBatchNorm", "all but Second"]
    assert (document["first_look"], document["images"]) == (3, 8)
    assert row_of(document, "only FoldBatchNorm")["images"] == 8
    assert row_of(document, "only FoldBatchNorm")["pair"]["flips"] == 2
    assert (row_of(document, "all but Idle")["images"], effects(document)["Idle"]) == (3, "inert")
    assert document["counts"] == {"acts": 1, "together": 1, "fails": 2, "inert": 1}
    assert "Every point answered 3 images" in ablation_markdown(document)


def test_the_same_question_goes_on_in_the_study_that_was_not_finished(trials, monkeypatch):
    tried = trials.run

    def interrupted(points, *, timed=False):
        raise KeyboardInterrupt

    trials.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(trials, timed=False)
    trials.run = tried
    other = run(trials, chosen=["Idle"], timed=False)
    document = run(trials, timed=False)
    assert [one["id"] for one in layout.study_documents(trials.store)] == [
        document["id"],
        other["id"],
    ]
    assert document["complete"] is True
    assert run(trials, timed=False)["id"] != document["id"]


def test_rows_hold_flips_differences_operators_and_the_time_with_its_interval(finished):
    _, document = finished
    folded = row_of(document, "only FoldBatchNorm")
    assert folded["pair"]["flips"] == 2
    assert folded["operators_changed"] == {"BatchNorm": -4}
    fused = row_of(document, "only Fuse")
    assert fused["pair"]["flips"] == 0
    assert fused["pair"]["time_ratio"] == pytest.approx(0.5, rel=0.01)
    assert fused["pair"]["time_low"] < fused["pair"]["time_ratio"] < fused["pair"]["time_high"]
    assert fused["pair"]["time_verdict"]["verdict"] == "faster"
    missing = row_of(document, "all but Second")
    assert missing["against"] == "all on"
    assert missing["pair"]["time_verdict"]["verdict"] == "slower"


def test_an_inert_pass_has_no_pair_that_could_be_taken_for_a_finding(finished):
    _, document = finished
    for label in ("only Idle", "all but Idle", "only Second"):
        row = row_of(document, label)
        assert row["inert"] is True
        assert row["pair"] is None


def test_a_crash_is_a_row_with_its_kind_and_the_rest_goes_on(finished):
    _, document = finished
    row = row_of(document, "only Crasher")
    assert (row["status"], row["kind"]) == ("failed", "signal")
    assert len(document["rows"]) == 2 + 2 * len(NAMES)


def test_without_fingerprints_nothing_is_called_inert(tmp_path):
    silent = PlantedTrials(StoreFactory(tmp_path), NAMES[:3], compiler, shown=False)
    document = run(silent, timed=False)
    assert set(effects(document).values()) == {"unknown"}
    assert row_of(document, "only Idle")["said"] == "compiled form not shown by its library"


def test_where_all_off_fails_what_is_compared_with_all_on_is_still_told(tmp_path):
    def needs_fuse(passes):
        if "Fuse" not in passes:
            raise Crash("nothing runs unfused")
        return compiler(passes)

    document = run(PlantedTrials(StoreFactory(tmp_path), NAMES[:3], needs_fuse))
    assert row_of(document, "all off")["status"] == "failed"
    assert row_of(document, "all but FoldBatchNorm")["inert"] is False
    assert row_of(document, "all on")["pair"] is None
    alone, without = sections(document)
    assert [name for name, _, _ in alone.failed] == ["all off", "FoldBatchNorm", "Idle"]
    assert [line.name for line in without.lines] == ["FoldBatchNorm"]


def test_where_nothing_runs_with_all_off_or_all_on_no_pass_is_tried_or_blamed(tmp_path):
    def never(passes):
        raise Crash("no such operator")

    trials = PlantedTrials(StoreFactory(tmp_path), NAMES, never)
    document = run(trials)
    assert trials.batches == [(["all off", "all on"], False)]
    assert set(effects(document).values()) == {"untried"}
    assert document["complete"] is True
    assert "no pass is to blame" in document["headline"]
    assert "no such operator" in ablation_markdown(document)
    assert _status(document) == 4
    console = Console(file=io.StringIO(), width=200)
    print_ablation(document, console)
    assert "failed all off (signal): no such operator" in console.file.getvalue()
    assert "What each pass does" not in console.file.getvalue()


def test_a_setting_that_the_backend_does_not_have_is_bad_input(tmp_path):
    trials = PlantedTrials(StoreFactory(tmp_path), NAMES, compiler, given={"nosuch": 1})
    with pytest.raises(UsageError, match="planted has no setting"):
        run(trials)
    assert trials.batches == []


def test_a_backend_without_names_tells_which_of_its_environment_has_some(tmp_path):
    trials = PlantedTrials(StoreFactory(tmp_path), (), compiler, elsewhere=("other",))
    for asked in (run, known_passes):
        with pytest.raises(UsageError, match="planted offers no passes by name") as caught:
            asked(trials)
        assert "--backend other" in str(caught.value.remedy)


def test_batches_grow_to_what_takes_a_minute_or_two(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    points, sizes = tuple(range(100)), []
    for batch in module._batches(points):
        slow = not sizes or len(sizes) > 2
        clock[0] += len(batch) * (15 if slow else 0.5)
        sizes.append(len(batch))
    assert sizes[:5] == [4, 6, 28, 28, 6]
    assert sum(sizes) == 100


def test_an_interrupted_ablation_says_that_it_is_incomplete_before_it_calls_anything_inert(
    trials,
):
    tried, batches = trials.run, []

    def interrupted(points, *, timed=False):
        batches.append(points)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return tried(points, timed=timed)

    trials.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(trials)
    [document] = layout.study_documents(trials.store)
    assert document["complete"] is False
    assert document["headline"] == "Incomplete: 6 of 12 points are not tried yet"
    assert effects(document)["Idle"] == "half"
    assert "inert" not in document["counts"]
    assert ablation_markdown(document).startswith("**Incomplete: 6 of 12")


def test_a_limited_ablation_tries_what_was_asked_for_and_says_how_many_there_are(trials):
    document = run(trials, chosen=["Idle"], arms=["alone"], timed=False)
    assert [row["label"] for row in document["rows"]] == ["all off", "all on", "only Idle"]
    assert (document["known"], effects(document)) == (5, {"Idle": "half"})


def test_a_pass_that_cannot_be_tried_in_the_way_asked_for_is_counted(trials):
    document = run(trials, chosen=["Fuse", "Idle"], timed=False)
    document["counts"] = {"acts": 1, "untried": 1}
    assert headline(document) == "Of 2 passes: 1 acting, 1 not tried"


def test_a_stand_in_is_what_the_model_takes(tmp_path):
    array = np.load(stand_in(write_model(tmp_path / "m.onnx"), None, tmp_path))
    assert (array.shape, array.dtype) == ((1, FEATURES), np.float32)
    with pytest.raises(ModelError, match="There is no model file"):
        stand_in(tmp_path / "none.onnx", None, tmp_path)


def test_the_passes_are_listed_and_an_unknown_one_is_refused(trials):
    assert known_passes(trials) == list(NAMES)
    with pytest.raises(UsageError, match="planted has no pass Fuze; it has 5"):
        run(trials, chosen=["Fuze"])


def test_a_study_is_kept_where_status_finds_it(finished):
    trials, document = finished
    [kept] = layout.study_documents(trials.store)
    assert kept == document
    assert kept["kind"] == "ablate-passes"


def test_tables_hold_what_acts_and_name_the_inert_and_the_failed(finished):
    _, document = finished
    alone, without = sections(document)
    assert [line.name for line in alone.lines] == ["all on", "Fuse", "FoldBatchNorm"]
    assert alone.inert == ("Idle", "Second")
    assert [name for name, _, _ in alone.failed] == ["Crasher"]
    assert [line.name for line in without.lines] == ["FoldBatchNorm", "Second"]
    assert {word: names for word, _, names in by_effect(document)}["inert"] == ["Idle"]


def test_a_table_in_which_nothing_acts_still_says_which_it_is(finished):
    _, document = finished
    rows = [one | {"inert": True} for one in document["rows"]]
    console = Console(file=io.StringIO(), width=200)
    print_ablation({**document, "rows": rows}, console)
    lines = console.file.getvalue().splitlines()
    place = lines.index("Each pass alone, against all off")
    assert lines[place + 1].startswith("Inert here (")


def test_many_inert_passes_are_counted_where_only_some_are_named():
    section = Section("", "", (), ("a", "b", "c"), (), (), ())
    assert inert_in_words(section, 2) == "Inert here (3): a, b, and 1 more."
    assert inert_in_words(section, 3) == inert_in_words(section) == "Inert here (3): a, b, c."


def test_the_page_and_markdown_show_what_was_found_and_escape_it(finished):
    _, document = finished
    document = {**document, "model": "<b>m|n</b>"}
    page, text = render(document), ablation_markdown(document)
    assert "<b>m|n</b>" not in page
    assert "&lt;b&gt;m|n&lt;/b&gt;" in page
    assert "&lt;b&gt;m\\|n" in text
    for said in (page, text):
        assert "Each pass alone, against all off" in said
        assert "BatchNorm -4" in said
        assert "signal" in said


def test_where_the_model_depends_on_the_images_every_point_answers_all_of_them(tmp_path):
    trials = PlantedTrials(StoreFactory(tmp_path), NAMES, compiler, fitted=True)
    progress = SilentProgress()
    document = ablate(trials, progress, first_look=3, timed=False)
    assert trials.looking.batches == []
    assert (document["first_look"], document["images"]) == (8, 8)
    assert any("depends on the images" in note for note in progress.notes)


def test_a_compiler_that_never_repeats_itself_makes_no_pass_act_by_its_form_alone(tmp_path):
    trials = PlantedTrials(StoreFactory(tmp_path), NAMES[:3], compiler, moody=True)
    document = run(trials, first_look=3, timed=False)
    assert document["deterministic"] is False
    assert effects(document) == {"Fuse": "unknown", "FoldBatchNorm": "acts", "Idle": "unknown"}
    assert row_of(document, "only Idle")["said"] == "other form, same answers; not deterministic"
    assert "not deterministic" in document["headline"]
    assert "not deterministic" in ablation_markdown(document)


def test_a_compiler_that_repeats_itself_is_known_to_where_something_was_compiled_twice(tmp_path):
    trials = PlantedTrials(StoreFactory(tmp_path), NAMES[:3], compiler)
    assert run(trials, timed=False)["deterministic"] is None
    assert run(trials, first_look=3, timed=False)["deterministic"] is True


def test_a_timed_ablation_takes_the_control_for_the_second_compilation(tmp_path):
    factory = StoreFactory(tmp_path)
    trials = PlantedTrials(factory, NAMES[:3], compiler)
    other = {"compiled": {"form": "onnx", "sha256": "ab" * 32, "operators": {}}}
    tried, controls = trials.run, []

    def with_control(points, *, timed=False):
        found = tried(points, timed=timed)
        if not timed:
            return found
        scores = [found[0].answers().scores]
        repeat = len(controls) + 1
        controls.append(factory.cell(factory.inputs(8), scores, repeat=repeat, told=other))
        return [replace(found[0], again=controls[-1]), *found[1:]]

    trials.run = with_control
    document = run(trials)
    assert document["deterministic"] is False
    assert effects(document) == {"Fuse": "unknown", "FoldBatchNorm": "acts", "Idle": "inert"}
