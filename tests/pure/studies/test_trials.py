"""Trials over environments that are not there: which sweeps they ask for, what they make of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import UsageError
from harness.execution.attempts import Failure
from harness.execution.outcome import record
from harness.execution.resolve import Resolved
from harness.execution.stacks import Stacks
from harness.execution.standing import Standing
from harness.plan.build import build_plan
from harness.plan.feeds import USUAL, CellInputs, Feeds
from harness.plan.parts import DeviceHere, Place, Stack, Subject, Workshop
from harness.progress import SilentProgress
from harness.spec.load import check_spec
from harness.studies import trials as module
from harness.studies.points import Point
from harness.studies.trials import Trials

MAKER = Workshop("maker", "identity-of-maker", "venv", {"onnx>onnx:onnxoptimizer": ()}, {})


def base(**more):
    document = {
        "models": [{"path": "m.onnx"}],
        "inputs": {"path": "x.npy"},
        "environments": ["e"],
        **more,
    }
    return check_spec(document, "test")


def resolved(spec, closed):
    fed = CellInputs("p", "i", "array", None, None, raw_quantised=False)
    subject = Subject("m", Path("m.onnx"), "onnx", "sha", 0, "auto", Feeds({USUAL: fed}))
    stack = Stack(
        entry=spec.environments[0],
        name="e",
        stack="onnxruntime",
        version="1",
        identity="identity",
        formats={"onnxruntime": ("onnx",)},
        converters={},
        executor="venv",
    )
    engine = SimpleNamespace(close=lambda: closed.append(1))
    place = Place("runner", {"cpu": DeviceHere("cpu", "A CPU")})
    return Resolved((subject,), Stacks((stack,), {}, {}, engine), {}, place, {}, (MAKER,))


@pytest.fixture
def ran(monkeypatch):
    """Every sweep that was asked for; those whose settings hold `crash` fail."""
    found = SimpleNamespace(specs=[], resolutions=0, closed=[], called=[])

    def resolve(spec, progress):
        found.resolutions += 1
        return resolved(spec, found.closed)

    def run_sweep(spec, store, progress, *, retry, executor, prepared):
        found.specs.append(spec)
        of = prepared.resolved
        plan = build_plan(
            spec, of.subjects, of.stacks.stacks, of.place, of.workshops, prepared.called
        )
        found.called.append([cell.called for cell in plan.cells])
        failures = {
            cell.key: Failure(cell.key, "signal", "ended by signal 11")
            for cell in plan.cells
            if "crash" in cell.settings
        }
        standing = Standing(frozenset(), {}, ())
        found.groups = list(plan.groups)
        return record(spec, store, plan, found.groups, standing, failures, {})

    monkeypatch.setattr(module, "resolve_spec", resolve)
    monkeypatch.setattr(module, "run_sweep", run_sweep)
    return found


@pytest.fixture
def trials(tmp_path, ran):
    with Trials(tmp_path, base(), SilentProgress()) as made:
        yield made


def test_points_come_back_in_order_with_their_cells_and_failures_are_data(trials, ran):
    points = [Point("a"), Point("b", {"crash": 1}), Point("c", {"x": [1, 2]})]
    found = trials.run(points)
    assert [one.label for one in found] == ["a", "b", "c"]
    assert [one.status for one in found] == ["done", "failed", "done"]
    assert (found[1].kind, found[1].message) == ("signal", "ended by signal 11")
    assert len({one.key for one in found}) == 3
    assert trials.sweeps == [found[0].sweep]


def test_a_sweep_is_resolved_once_however_many_batches_there_are(trials, ran):
    trials.run([Point("a"), Point("b", {"x": 1})])
    trials.run([Point("c", {"x": 2})], timed=True)
    assert ran.resolutions == 1
    assert [spec.timing.enabled for spec in ran.specs] == [False, True]
    assert all(spec.fingerprint for spec in ran.specs)


def test_cells_are_called_what_their_points_are_called(trials, ran):
    trials.run([Point("only FuseOps", {"passes": ["FuseOps"]}), Point("all on")])
    assert ran.called == [["only FuseOps", "all on"]]


def test_points_that_mean_the_same_share_a_cell(trials):
    a, b = trials.run([Point("a", {"x": 1}), Point("b", {"x": 1})])
    assert a.key == b.key
    assert (a.label, b.label) == ("a", "b")


def test_the_bases_settings_are_part_of_every_point(tmp_path, ran):
    spec = base(environments=[{"name": "e", "settings": [{"y": 7}]}])
    with Trials(tmp_path, spec, SilentProgress()) as trials:
        trials.run([Point("a"), Point("b", {"x": 1})])
    [asked] = ran.specs
    assert list(asked.environments[0].settings) == [{"y": 7}, {"y": 7, "x": 1}]


def test_wishes_are_an_axis_and_a_wish_for_nothing_is_no_wish(trials, ran):
    points = [
        Point("all off", wishes={"optimise": "none"}),
        Point("all on", wishes={"optimise": "onnxoptimizer"}),
    ]
    found = trials.run(points)
    assert ran.specs[0].axes.optimise == ("none", "onnxoptimizer")
    assert [one.status for one in found] == ["done", "done"]
    assert found[0].key != found[1].key


def test_settings_and_wishes_do_not_differ_in_one_batch(trials):
    points = [Point("a", {"x": 1}), Point("b", wishes={"optimise": "onnxoptimizer"})]
    with pytest.raises(UsageError, match="both in settings and in how the model file is changed"):
        trials.run(points)


def test_a_point_that_the_plan_leaves_out_is_skipped_with_the_reason(trials):
    found = trials.run([Point("a"), Point("b", wishes={"opset": 13})])
    assert [one.status for one in found] == ["done", "skipped"]
    assert "opset 13" in found[1].message
    assert found[1].answered is False


def test_a_base_of_several_cells_is_refused(tmp_path, ran):
    with (
        Trials(tmp_path, base(axes={"threads": [1, 2]}), SilentProgress()) as trials,
        pytest.raises(UsageError, match="about one cell; this names 2"),
    ):
        trials.run([Point("a")])


def test_fewer_images_are_asked_in_sweeps_of_their_own_which_are_listed_among_the_others(
    trials, ran
):
    trials.run([Point("a")])
    fewer = trials.over(4)
    fewer.run([Point("a")])
    assert [spec.inputs.limit for spec in ran.specs] == [None, 4]
    assert trials.over(4) is fewer
    assert fewer.over(4) is fewer
    assert fewer.over(9) is fewer
    assert trials.sweeps == fewer.sweeps
    assert len(trials.sweeps) == 2


def test_what_was_opened_for_fewer_images_is_closed_with_the_rest(tmp_path, ran):
    with Trials(tmp_path, base(), SilentProgress()) as trials:
        trials.over(4).run([Point("a")])
        assert ran.closed == []
    assert ran.closed == [1]


def test_the_engine_is_let_go_of_at_the_end(tmp_path, ran):
    with Trials(tmp_path, base(), SilentProgress()) as trials:
        trials.run([Point("a")])
        assert ran.closed == []
    assert ran.closed == [1]


def test_a_study_is_of_one_model_environment_and_backend(tmp_path):
    document = {
        "models": [{"path": "m.onnx"}],
        "inputs": {"path": "x.npy"},
        "environments": ["a", "b"],
    }
    with pytest.raises(UsageError, match="about one environment; named are a, b"):
        Trials(tmp_path, check_spec(document, "test"), SilentProgress())
    document |= {"environments": ["a"], "axes": {"level": ["basic"]}}
    with pytest.raises(UsageError, match="a level stands for settings"):
        Trials(tmp_path, check_spec(document, "test"), SilentProgress())


def test_what_times_are_related_to_knows_its_control_which_was_compiled_once_more(trials, ran):
    points = [Point("a"), Point("b", {"x": 1})]
    assert [one.again for one in trials.run(points)] == ["", ""]
    reference, other = trials.run(points, timed=True)
    assert reference.again == ran.groups[0].control
    assert reference.again not in {"", reference.key}
    assert other.again == ""
