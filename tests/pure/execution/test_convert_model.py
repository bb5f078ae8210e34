"""One model is converted as a sweep would do it: planned, made once, kept, and failures named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from support.planned_chain import PlantedConductor, cell, spec
from support.small_model import write_model
from support.small_onnx import conv
from typer.testing import CliRunner

from harness.cli.model import app
from harness.errors import EXIT_CELLS_FAILED, SpecError, UsageError
from harness.execution import convert_model, groups
from harness.execution.attempts import Failure
from harness.execution.bundles import answers_folder, artifact_folder, is_whole, seal
from harness.execution.checking import QUANTISED, Check
from harness.execution.convert_model import Converted, Intent, Wanted, convert, intend
from harness.execution.convert_steps import StepDone
from harness.execution.documents import GroupDocument
from harness.execution.groups import Groups
from harness.plan.cells import Cell
from harness.plan.routes import Route
from harness.progress import Progress, SilentProgress
from harness.spec.models import SweepSpec


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HARNESS_IMAGES", raising=False)


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(conv(channels=3).model().SerializeToString())
    return path


def wanted(model: Path, **more: Any) -> Intent:
    return intend(Wanted(model={"path": str(model)}, **more), SilentProgress())


def planned(monkeypatch: pytest.MonkeyPatch, **more: Any) -> Intent:
    """An intent whose planning and building of environments is planted."""
    asked = spec(**more)
    prepared = SimpleNamespace(path=Path("x.npy"), count=4)
    made = SimpleNamespace(python="/python", image=None)
    ready = {"identity-of-maker": made, "identity-of-reader": made}
    stacks = SimpleNamespace(ready=ready, environments={}, engine=None, close=lambda: None)
    resolved = SimpleNamespace(stacks=stacks, inputs={"i": prepared})
    plan = SimpleNamespace(cells=(cell(asked),))
    monkeypatch.setattr(convert_model, "plan_sweep", lambda *_: (resolved, plan))
    return Intent(asked, Route("onnx"), None, "")


def run(tmp_path: Path, intent: Intent, conductor: PlantedConductor) -> Converted:
    return convert(intent, SilentProgress(), store=tmp_path / "store", executor=conductor)


def told(done: Converted) -> list[tuple[str, str]]:
    return [(step.conversion.converter, step.status) for step in done.steps]


def test_every_step_is_made_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conductor = PlantedConductor()
    done = run(tmp_path, planned(monkeypatch), conductor)
    assert told(done) == [("onnx>keras", "made"), ("keras>tflite", "made")]
    assert (done.status, done.route, done.format) == ("made", "onnx>keras>tflite", "tflite")
    assert done.artifact is not None
    assert done.artifact.read_bytes() == b"step 2, keras>tflite in maker"
    assert done.axes == {"input_axes": [0, 2, 3, 1]}
    [group] = conductor.groups
    first, second = group.conversions
    assert (first.source, second.source) == (None, first.key)
    assert first.check is not None
    assert first.check.tolerance == 0.01
    assert group.cells == ()
    assert not (tmp_path / "store/.work").exists()


def test_a_second_time_nothing_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, planned(monkeypatch), PlantedConductor())
    conductor = PlantedConductor()
    done = run(tmp_path, planned(monkeypatch), conductor)
    assert (done.status, conductor.groups) == ("kept", [])
    assert [(s.status, s.seconds) for s in done.steps] == [("kept", None)] * 2
    assert done.steps[1].check is not None
    assert done.steps[1].check["share"] == 0.001


def test_what_was_kept_and_is_broken_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(tmp_path, planned(monkeypatch), PlantedConductor())
    assert done.artifact is not None
    content = done.artifact.read_bytes()
    done.artifact.write_bytes(content.upper())
    again = run(tmp_path, planned(monkeypatch), PlantedConductor())
    assert told(again) == [("onnx>keras", "kept"), ("keras>tflite", "made")]
    assert done.artifact.read_bytes() == content


def test_the_step_that_fails_is_named_and_its_log_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conductor = PlantedConductor({"onnx>keras": "no Gelu here"})
    done = run(tmp_path, planned(monkeypatch), conductor)
    assert told(done) == [("onnx>keras", "failed"), ("keras>tflite", "not reached")]
    assert (done.status, done.artifact) == ("failed", None)
    assert done.failure is not None
    assert done.failure.message == "onnx>keras in maker: no Gelu here"
    assert done.log is not None
    assert done.log.read_text() == "log of onnx>keras"
    later = run(tmp_path, planned(monkeypatch), PlantedConductor())
    assert told(later) == [("onnx>keras", "made"), ("keras>tflite", "made")]


def test_what_was_made_before_the_step_at_fault_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(tmp_path, planned(monkeypatch), PlantedConductor({"keras>tflite": "boom"}))
    assert told(done) == [("onnx>keras", "made"), ("keras>tflite", "failed")]
    assert done.failure is not None
    assert done.failure.message == "step 2, keras>tflite in maker: boom"
    first = done.steps[0].conversion
    assert is_whole(artifact_folder(tmp_path / "store", first.key), deep=True)


def test_a_conductor_that_dies_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(tmp_path, planned(monkeypatch), PlantedConductor(silent=True))
    assert done.failure is not None
    assert done.failure.kind == "engine"
    assert "ended too early. Its last words: a last word" in done.failure.message


def test_a_smaller_tolerance_is_held_against_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, planned(monkeypatch), PlantedConductor(share=0.008))
    strict = planned(monkeypatch, conversions={"tolerance": 0.001})
    done = run(tmp_path, strict, PlantedConductor())
    assert told(done) == [("onnx>keras", "failed"), ("keras>tflite", "not reached")]
    assert done.failure is not None
    assert done.failure.kind == "disagreement"
    assert "0.8 % of the range" in done.failure.message
    loose = planned(monkeypatch, conversions={"tolerance": 0.1})
    assert run(tmp_path, loose, PlantedConductor()).status == "kept"


class QuantisedConductor(PlantedConductor):
    """Finds integers where nobody asked for them: another tolerance binds."""

    def _events(self, group: GroupDocument) -> list[dict[str, Any]]:
        events = super()._events(group)
        for event in events:
            if event["event"] == "converted":
                event["check"] |= {"tolerance": 0.5, "tolerance_name": QUANTISED}
        return events


def test_what_was_held_to_the_limit_for_integers_is_held_to_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(tmp_path, planned(monkeypatch), QuantisedConductor(share=0.2))
    assert made.artifact is not None
    document = json.loads((made.artifact.parent / "artifact.json").read_text())
    kept = document["check"]["tolerance"], document["check"]["tolerance_name"]
    assert kept == (0.5, "conversions.quantised_tolerance")
    again = run(tmp_path, planned(monkeypatch), PlantedConductor())
    assert (again.status, told(again)[1]) == ("kept", ("keras>tflite", "kept"))
    assert again.steps[1].check is not None
    assert again.steps[1].check["tolerance"] == 0.5
    strict = planned(monkeypatch, conversions={"quantised_tolerance": 0.1})
    done = run(tmp_path, strict, PlantedConductor())
    assert done.failure is not None
    assert "allow more with `conversions.quantised_tolerance`" in done.failure.message
    assert done.failure.limits == {QUANTISED: 0.1}


def sweep_again(store: Path, asked: SweepSpec, one: Cell) -> Failure | None:
    """What a sweep says of a cell whose conversions are in its store already."""
    ready = {one.environment_identity: SimpleNamespace(probe={})}
    resolved = cast("Any", SimpleNamespace(stacks=SimpleNamespace(ready=ready)))
    again = Groups(asked, store, SilentProgress(), resolved, cast("Any", None), cast("Any", None))
    return again._hopeless(one)


def test_a_sweep_holds_what_is_kept_to_the_tolerance_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "refusal", lambda *_: "")
    store = tmp_path / "store"
    run(tmp_path, planned(monkeypatch), PlantedConductor(share=0.008))
    one = cell(spec())
    assert sweep_again(store, spec(), one) is None
    strict = spec(conversions={"tolerance": 0.001})
    failure = sweep_again(store, strict, one)
    assert failure is not None
    assert (failure.key, failure.kind) == (one.key, "disagreement")
    assert failure.message.startswith("onnx>keras in maker: What it made answers otherwise")
    assert failure.limits == {"conversions.tolerance": 0.001}
    assert failure.lasts({"conversions.tolerance": 0.001})
    assert not failure.lasts({"conversions.tolerance": 0.01})
    answers = answers_folder(store, one.key)
    answers.mkdir(parents=True)
    (answers / "answers.json").write_text("{}")
    seal(answers)
    assert sweep_again(store, strict, one) is None  # done stays done


def test_what_nobody_could_check_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(tmp_path, planned(monkeypatch), UncheckedConductor())
    assert done.steps[1].check is None
    strict = spec(conversions={"tolerance": 0})
    assert sweep_again(tmp_path / "store", strict, cell(spec())) is None


class UncheckedConductor(PlantedConductor):
    def _events(self, group: GroupDocument) -> list[dict[str, Any]]:
        return [
            {**event, "check": None} if event["event"] == "converted" else event
            for event in super()._events(group)
        ]


def environments(intent: Intent) -> tuple[str, list[str], list[str]]:
    [entry] = intent.spec.environments
    return entry.names[0], list(intent.spec.axes.route), [s.maker for s in intent.route.steps]


def test_the_shortest_route_is_taken_to_who_reads_the_format(convolution: Path) -> None:
    assert environments(wanted(convolution, to="tflite")) == (
        "tensorflow-2.21",
        ["onnx>tflite"],
        ["tensorflow-2.21"],
    )
    assert environments(wanted(convolution, to="torch"))[0] == "torch-2.13"
    reader, route, _ = environments(wanted(convolution, to="keras", reader="tensorflow-2.15"))
    assert (reader, route) == ("tensorflow-2.15", ["onnx>keras"])


def test_a_route_that_cannot_do_what_is_wanted_makes_way_for_one_that_can(
    convolution: Path,
) -> None:
    wish = {"layout": ["nhwc"]}
    assert wanted(convolution, to="savedmodel").spec.axes.layout == ("own",)
    intent = wanted(convolution, to="onnx", axes={"opset": [15]})
    assert environments(intent)[1] == ["onnx"]
    assert wanted(convolution, to="tflite", axes=wish).route.name != "onnx>tflite"


def test_inputs_are_made_in_the_shape_of_the_model(convolution: Path, tmp_path: Path) -> None:
    intent = wanted(convolution, to="tflite")
    assert intent.inputs_made == "4 of seeded noise, 3 x 9 x 8"
    assert intent.spec.inputs is not None
    assert np.load(intent.spec.inputs.path).shape == (4, 3, 9, 8)
    fixed = write_model(tmp_path / "fixed.onnx", batch=6)
    assert wanted(fixed, to="tflite").inputs_made == "6 of seeded noise, 24"


def test_a_recipe_means_images(convolution: Path) -> None:
    model = {"path": str(convolution), "recipe": "tf"}
    intent = intend(Wanted(model=model, to="tflite"), SilentProgress())
    assert intent.inputs_made == "4 seeded textures, fed by the recipe"
    assert intent.spec.data is not None
    assert (intent.spec.data.limit, intent.spec.data.labelled) == (4, False)
    assert len(list(intent.spec.data.path.glob("*.png"))) == 128


def test_images_are_taken_as_far_as_they_are_looked_at(convolution: Path, tmp_path: Path) -> None:
    intent = wanted(
        convolution,
        to="onnx",
        data=tmp_path,
        axes={"quantisation": ["static"]},
        conversions={"calibration": 30},
    )
    assert intent.inputs_made == ""
    assert intent.spec.data is not None
    assert intent.spec.data.limit == 30


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"to": "onnx"}, "The model is onnx already"),
        ({"to": "tflit"}, "No environment reads or writes the format 'tflit'"),
        ({"route": "all"}, "The route all does not say where it ends"),
        ({"route": "onnx>>tflite"}, "is no route: write auto"),
        ({"route": "onnx>savedmodel:nosuch"}, r"nothing here converts onnx to savedmodel:nosuch"),
        ({"to": "tflite", "reader": "torch-2.13"}, "torch-2.13 does not read tflite"),
        ({"to": "tflite", "reader": "torch-2.1"}, "There is no environment 'torch-2.1'"),
        ({"to": "onnx", "axes": {"quantisation": ["static"]}}, "nothing is given"),
        ({"to": "weights"}, "No environment reads weights, and a conversion is checked"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    convolution: Path, tmp_path: Path, more: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        wanted(convolution, **more)
    assert not (tmp_path / "cache/converted").exists()


def test_a_wish_out_of_bounds_is_told_as_in_a_sweep(convolution: Path) -> None:
    with pytest.raises(SpecError, match=r"axes\.opset\[0\]"):
        wanted(convolution, to="onnx", axes={"opset": [0]})


def test_a_model_that_leaves_its_input_open_asks_for_inputs(tmp_path: Path) -> None:
    model = conv(channels=3).model()
    for size in list(model.graph.input[0].type.tensor_type.shape.dim)[2:]:
        size.dim_param = "side"
    (tmp_path / "open.onnx").write_bytes(model.SerializeToString())
    intent = wanted(tmp_path / "open.onnx", to="tflite")
    assert intent.inputs_made == "4 of seeded noise, 3 x 224 x 224"
    vague = write_model(tmp_path / "vague.onnx")
    told_apart = onnx.load(vague)
    told_apart.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "many"
    onnx.save(told_apart, vague)
    with pytest.raises(UsageError, match="so no inputs can be made for it here") as caught:
        wanted(vague, to="tflite")
    assert "--inputs X.npy" in caught.value.remedy


def test_the_record_of_a_step_is_what_a_program_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(tmp_path, planned(monkeypatch), PlantedConductor())
    record = json.loads(json.dumps(done.steps[0].record()))
    assert record["converter"] == "onnx>keras"
    assert (record["environment"], record["status"]) == ("maker", "made")
    assert record["seconds"] >= 0
    assert record["check"]["max_abs_diff"] == 0.5


def test_more_memory_is_given_on_the_command_line_and_its_want_says_so(
    convolution: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Intent] = []
    unchecked = Check(0, None, None, 0.01, "conversions.tolerance", "a", "", "b cannot be used: x")

    def broken(intent: Intent, _: Progress) -> Converted:
        asked.append(intent)
        first, second = cell(spec()).conversion.chain  # type: ignore[union-attr]
        steps = (StepDone(first, "made", 1.0, unchecked.record()), StepDone(second, "failed"))
        failure = Failure(second.key, "out-of-memory", "it used more than it may")
        return Converted("m", "r", "tflite", steps, None, {}, failure, None, "")

    monkeypatch.setattr(convert_model, "convert", broken)
    options = ["--to", "tflite", "--memory", "777", "-o", str(tmp_path / "m.tflite")]
    result = CliRunner().invoke(app, ["convert", str(convolution), *options])
    assert result.exit_code == EXIT_CELLS_FAILED
    assert asked[0].spec.conversions.memory_mib == 777
    assert "Here: --memory MIB allows more." in result.stdout
    assert "   not compared with its source: b cannot be used: x\n" in result.stdout
