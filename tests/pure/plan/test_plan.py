"""Planning: which cells there are, what their keys depend on, how they are grouped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.pairing import axes
from harness.errors import SpecError
from harness.plan.build import Plan, build_plan
from harness.plan.feeds import USUAL, CellInputs, Feeds
from harness.plan.groups import make_groups
from harness.plan.parts import DeviceHere, Place, Stack, Subject, Workshop
from harness.spec.load import check_spec
from harness.spec.models import EnvironmentEntry, SweepSpec

INPUTS = CellInputs("pixels", "inputs", "pixels", {"channels": "rgb"}, "NCHW", raw_quantised=False)
CPU = DeviceHere("cpu", "A CPU")
GPU = DeviceHere("cuda", "A GPU, driver 1", "GPU-a")
PLACE = Place("runner-hash", {"cpu": CPU})


def spec(**changes: Any) -> SweepSpec:
    document = {
        "models": [{"path": "m.onnx", "recipe": "tf"}],
        "data": {"path": "images"},
        "environments": ["a", "b"],
    }
    return check_spec({**document, **changes}, "test")


def subject(name: str = "m", file_format: str = "onnx", **changes: Any) -> Subject:
    made = Subject(
        name=name,
        path=Path(f"{name}.{file_format}"),
        format=file_format,
        sha256=f"sha-{name}",
        class_offset=0,
        output="auto",
        feeds=Feeds({USUAL: INPUTS}),
    )
    return replace(made, **changes)


def stack(name: str, **changes: Any) -> Stack:
    made = Stack(
        entry=EnvironmentEntry(name=name),
        name=name,
        stack="onnxruntime",
        version="1",
        identity=f"identity-{name}",
        formats={"onnxruntime": ("onnx",)},
        converters={},
        executor="venv",
    )
    return replace(made, **changes)


TORCH = stack("t", formats={"torch.eager": ("pt2",)}, converters={"onnx>torch": ()})
LITE = stack("l", formats={"tflite": ("tflite",)})


def plan(wanted: SweepSpec, subjects: list[Subject], stacks: list[Stack]) -> Plan:
    return build_plan(wanted, subjects, stacks, PLACE)


def test_every_combination_of_model_environment_and_axes_is_a_cell() -> None:
    wanted = spec(axes={"threads": [1, 2], "batch": [1, 8]})
    cells = plan(wanted, [subject("m"), subject("n")], [stack("a"), stack("b")]).cells
    assert len(cells) == 2 * 2 * 2 * 2
    assert len({cell.key for cell in cells}) == len(cells)


def test_a_key_is_the_same_each_time_and_changes_with_what_may_change_an_answer() -> None:
    [cell] = plan(spec(), [subject()], [stack("a")]).cells
    [again] = plan(spec(), [subject()], [stack("a")]).cells
    assert cell.key == again.key
    changes: list[dict[str, Any]] = [
        {"model_sha256": "x"},
        {"environment_identity": "x"},
        {"settings": {"level": "basic"}},
        {"precision": "default"},
        {"threads": 2},
        {"batch": 2},
        {"runner_sha256": "x"},
        {"executor": "docker"},
        {"device_name": "another"},
        {"class_offset": 1},
        {"repeat": 1},
        {"inputs": replace(INPUTS, pixels_key="x")},
        {"inputs": replace(INPUTS, layout="NHWC")},
    ]
    keys = {replace(cell, **change).key for change in changes}
    assert len(keys) == len(changes)
    assert cell.key not in keys


def test_a_gpu_is_a_cell_of_its_own_and_only_for_stacks_that_are_made_for_it() -> None:
    place = Place("runner-hash", {"cpu": CPU, "cuda:1": GPU})
    wanted = spec(axes={"device": ["cpu", "cuda:1"]})
    both = stack("g", accelerator="cuda")
    made = build_plan(wanted, [subject()], [both, stack("a")], place)
    assert [(c.environment, c.device, c.device_name, c.gpu) for c in made.cells] == [
        ("g", "cpu", "A CPU", None),
        ("g", "cuda", "A GPU, driver 1", "GPU-a"),
        ("a", "cpu", "A CPU", None),
    ]
    [skipped] = made.skipped
    assert skipped.environment == "a"
    assert skipped.reason == "a is a stack for cpu, not cuda"
    assert len({frozenset(c.key for c in group.cells) for group in made.groups}) == 2


def test_gpus_of_the_same_model_and_driver_share_their_results() -> None:
    wanted, stacks = spec(axes={"device": ["cuda"]}), [stack("g", accelerator="cuda")]
    other = replace(GPU, gpu="GPU-b")
    keys = {
        build_plan(wanted, [subject()], stacks, Place("r", {"cuda": gpu})).cells[0].key
        for gpu in (GPU, other, replace(GPU, name="A GPU, driver 2"))
    }
    assert len(keys) == 2
    twice = spec(axes={"device": ["cuda:0", "cuda:1"]})
    with pytest.raises(SpecError, match="cuda:0 and cuda:1 are both A GPU, driver 1"):
        build_plan(twice, [subject()], stacks, Place("r", {"cuda:0": GPU, "cuda:1": other}))


def test_the_same_environment_by_two_executors_is_two_cells_of_one_group() -> None:
    contained = stack("a", executor="docker", identity="image")
    made = plan(spec(), [subject()], [stack("a"), contained])
    assert [c.executor for c in made.cells] == ["venv", "docker"]
    [group] = made.groups
    assert {c.key for c in made.cells} <= {c.key for c in group.cells}


def test_a_key_does_not_change_with_names_and_labels() -> None:
    [cell] = plan(spec(), [subject()], [stack("a")]).cells
    relabelled = replace(INPUTS, inputs_key="other labels")
    renamed = replace(cell, model="other", environment="x", version="y", inputs=relabelled)
    assert renamed.key == cell.key


def test_a_conversion_is_planned_where_the_file_is_not_read_and_its_key_is_its_lineage() -> None:
    made = plan(spec(), [subject()], [stack("a"), TORCH])
    straight, converted = made.cells
    assert straight.conversion is None
    assert converted.route == "onnx>torch"
    assert converted.conversion is not None
    assert converted.conversion.target_format == "pt2"
    moved = replace(converted.conversion, source=Path("/elsewhere/m.onnx"))
    assert moved.key == converted.conversion.key
    assert replace(moved, options={"batch": 2}).key != moved.key


def test_combinations_that_cannot_exist_are_told_and_not_dropped() -> None:
    made = plan(spec(), [subject("m"), subject("q", "tflite")], [stack("a"), LITE])
    assert {(c.model, c.environment) for c in made.cells} == {("m", "a"), ("q", "l")}
    assert {(s.model, s.environment) for s in made.skipped} == {("m", "l"), ("q", "a")}
    assert "tflite reads tflite" in next(s.reason for s in made.skipped if s.model == "m")


def test_a_model_or_an_environment_without_any_cell_is_refused() -> None:
    with pytest.raises(SpecError, match="None of the environments can run q"):
        plan(spec(), [subject("m"), subject("q", "tflite")], [stack("a")])
    with pytest.raises(SpecError, match="Environment l can run none"):
        plan(spec(), [subject("m")], [stack("a"), LITE])


def test_unknown_backends_and_baselines_are_refused_with_what_there_is() -> None:
    with pytest.raises(SpecError, match="They offer: onnxruntime"):
        plan(spec(backends=["torch.eager"]), [subject()], [stack("a")])
    with pytest.raises(SpecError, match="Choose one of: a, b"):
        plan(spec(baseline="c"), [subject()], [stack("a"), stack("b")])


def test_a_fixed_batch_is_taken_from_the_model_and_another_one_is_refused() -> None:
    fixed = subject(batch=4)
    assert plan(spec(), [fixed], [stack("a")]).cells[0].batch == 4
    with pytest.raises(SpecError, match="fixed to a batch of 4"):
        plan(spec(axes={"batch": [1]}), [fixed], [stack("a")])


def test_an_environments_own_axes_take_the_place_of_the_sweeps() -> None:
    entry = EnvironmentEntry(name="a", precision=("f32", "default"), settings=({}, {"x": 1}))
    cells = plan(spec(), [subject()], [stack("a", entry=entry), stack("b")]).cells
    assert [(c.environment, c.precision, dict(c.settings)) for c in cells] == [
        ("a", "f32", {}),
        ("a", "f32", {"x": 1}),
        ("a", "default", {}),
        ("a", "default", {"x": 1}),
        ("b", "f32", {}),
    ]


def test_the_reference_runs_twice_and_stands_in_every_group() -> None:
    stacks = [stack(f"e{i}") for i in range(10)]
    cells = plan(spec(baseline=None), [subject()], stacks).cells
    groups = make_groups(cells, baseline="e3", timed=True, control=True, at_once=4)
    reference = next(c for c in cells if c.environment == "e3")
    assert all(g.reference == reference.key for g in groups)
    assert all(g.cells[0].key == reference.key for g in groups)
    assert {g.control for g in groups} == {reference.again(1).key}
    others = [c.key for g in groups for c in g.cells[2:]]
    assert sorted(others) == sorted(c.key for c in cells if c.key != reference.key)
    assert max(len(g.cells) for g in groups) == 4


def test_without_timing_nothing_runs_twice() -> None:
    cells = plan(spec(), [subject()], [stack(f"e{i}") for i in range(10)]).cells
    groups = make_groups(cells, baseline=None, timed=False, control=True, at_once=4)
    assert [c.key for g in groups for c in g.cells] == [c.key for c in cells]
    assert {g.reference for g in groups} == {None}


def test_each_scenario_has_groups_of_its_own_with_the_same_members() -> None:
    cells = plan(spec(), [subject()], [stack(f"e{i}") for i in range(6)]).cells
    both = ("single_stream", "offline")
    groups = make_groups(cells, baseline=None, timed=True, control=True, scenarios=both, at_once=4)
    assert [g.scenario for g in groups] == [*3 * ["single_stream"], *3 * ["offline"]]
    assert [g.cells for g in groups[:3]] == [g.cells for g in groups[3:]]
    assert [g.label for g in groups[2:4]] == ["m, 3 cells", "m, 4 cells, offline"]


def test_offline_finds_its_batch_so_only_the_family_of_batch_one_is_timed_in_it() -> None:
    cells = plan(spec(axes={"batch": [1, 4]}), [subject()], [stack("a"), stack("b")]).cells

    def made(*scenarios: str) -> list[tuple[int, str | None, int]]:
        groups = make_groups(cells, baseline=None, timed=True, control=True, scenarios=scenarios)
        return [(g.cells[0].batch, g.scenario, len(g.cells)) for g in groups]

    assert made("single_stream", "offline") == [
        (1, "single_stream", 3),
        (1, "offline", 3),
        (4, "single_stream", 3),
    ]
    # The others still answer, and no control of them runs.
    assert made("offline") == [(1, "offline", 3), (4, None, 2)]


def test_what_is_not_timed_has_no_scenario() -> None:
    cells = plan(spec(), [subject()], [stack("a"), stack("b")]).cells
    [group] = make_groups(
        cells, baseline=None, timed=False, control=True, scenarios=("single_stream", "offline")
    )
    assert (group.scenario, group.reference, len(group.cells)) == (None, None, 2)


def test_the_same_model_or_environment_by_two_names_is_refused() -> None:
    with pytest.raises(SpecError, match="m and n are the same file"):
        plan(spec(), [subject("m"), subject("n", sha256="sha-m")], [stack("a")])
    with pytest.raises(SpecError, match="a and b hold the same"):
        plan(spec(), [subject()], [stack("a"), stack("b", identity="identity-a")])


def test_a_converter_is_told_the_sizes_that_a_file_leaves_open() -> None:
    [cell] = plan(spec(), [subject(item_shape=(3, 8, 8))], [TORCH]).cells
    assert cell.conversion is not None
    assert dict(cell.conversion.options) == {"batch": 1, "item_shape": [3, 8, 8]}


def test_models_and_batches_are_never_timed_against_each_other() -> None:
    wanted = spec(axes={"batch": [1, 8]})
    groups = plan(wanted, [subject("m"), subject("n")], [stack("a"), stack("b")]).groups
    assert len(groups) == 4
    assert all(len({(c.model, c.batch) for c in g.cells}) == 1 for g in groups)


SEVERAL = stack(
    "s",
    formats={"tensorflow.graph": ("keras",), "tflite": ("tflite",), "onnxruntime": ("onnx",)},
)
WORKSHOP = Workshop("w", "identity-w", "venv", {"onnx>tflite": ()})


def test_of_backends_that_nobody_names_the_first_that_can_run_the_model_is_taken() -> None:
    made = plan(spec(), [subject(), subject("l", "tflite")], [SEVERAL])
    assert [(c.model, c.backend) for c in made.cells] == [("m", "onnxruntime"), ("l", "tflite")]
    assert made.skipped == ()


def test_all_stands_for_every_backend_and_those_without_a_way_are_told() -> None:
    made = plan(spec(backends=["all"]), [subject(file_format="tflite")], [SEVERAL])
    assert [c.backend for c in made.cells] == ["tflite"]
    assert [s.backend for s in made.skipped] == ["tensorflow.graph", "onnxruntime"]
    with pytest.raises(SpecError, match="`all` stands alone"):
        spec(backends=["all", "tflite"])


def test_another_environment_converts_where_a_stack_cannot() -> None:
    made = build_plan(spec(), [subject()], [LITE], PLACE, [WORKSHOP])
    [cell] = made.cells
    assert cell.conversion is not None
    assert (cell.route, cell.conversion.environment_identity) == ("onnx>tflite", "identity-w")
    assert cell.record()["converted_in"] == "w"
    other = replace(WORKSHOP, identity="identity-x")
    assert build_plan(spec(), [subject()], [LITE], PLACE, [other]).cells[0].key != cell.key


def test_a_stack_converts_by_itself_where_it_can_and_never_by_another_executor() -> None:
    able = replace(LITE, converters={"onnx>tflite": ()})
    [cell] = build_plan(spec(), [subject()], [able], PLACE, [WORKSHOP]).cells
    assert cell.conversion is not None
    assert cell.conversion.environment == "l"
    elsewhere = replace(WORKSHOP, executor="docker")
    with pytest.raises(SpecError, match="None of the environments can run m"):
        build_plan(spec(), [subject()], [LITE], PLACE, [elsewhere])


def test_two_batches_are_two_artifacts_and_one_way() -> None:
    one, eight = plan(spec(axes={"batch": [1, 8]}), [subject()], [TORCH]).cells
    assert one.conversion is not None
    assert eight.conversion is not None
    assert one.conversion.key != eight.conversion.key
    assert axes(one.record(), eight.record()) == ["batch"]


def test_a_cell_is_of_the_stack_that_its_backend_belongs_to() -> None:
    several = replace(SEVERAL, parts={"tflite": ("litert", "2.3.0")})
    [cell] = plan(spec(), [subject("l", "tflite")], [several]).cells
    assert (cell.stack, cell.version) == ("litert", "2.3.0")
    [cell] = plan(spec(), [subject()], [several]).cells
    assert (cell.stack, cell.version) == ("onnxruntime", "1")


def test_a_backend_that_an_environment_of_its_own_does_not_offer_is_refused() -> None:
    entry = EnvironmentEntry(name="s", backends=("tflite", "jax"))
    with pytest.raises(SpecError, match="s does not offer the backend jax"):
        plan(spec(), [subject()], [replace(SEVERAL, entry=entry), stack("a")])


def test_an_environment_without_a_backend_that_was_asked_for_says_how_to_go_on() -> None:
    with pytest.raises(SpecError) as caught:
        plan(spec(backends=["torch.eager"]), [subject()], [TORCH, stack("a")])
    assert "it offers onnxruntime: name one of these with --backend too" in str(caught.value)


def test_inputs_of_another_size_are_not_timed_beside_each_other() -> None:
    """The same weights at 224 and at 128 pixels: the one says nothing of the other's time."""
    of_images = replace(INPUTS, images_key="i")
    sizes = {
        name: subject(
            name,
            sha256="weights",
            feeds=Feeds(
                {USUAL: replace(of_images, inputs_key=name, pixels_key=name, recipe_key=name)}
            ),
        )
        for name in ("big", "small")
    }
    made = plan(spec(), list(sizes.values()), [stack("a"), stack("b")])
    assert [{cell.model for cell in group.cells} for group in made.groups] == [{"big"}, {"small"}]


def test_of_backends_that_nobody_names_the_one_with_the_fewest_conversions_is_taken() -> None:
    first = replace(
        SEVERAL,
        formats={"tensorflow.graph": ("keras",), "tflite": ("tflite",)},
        converters={"tflite>onnx": (), "onnx>keras": ()},
    )
    [cell] = plan(spec(), [subject("l", "tflite")], [first]).cells
    assert (cell.backend, cell.route) == ("tflite", "tflite")
    chosen = plan(spec(axes={"route": ["tflite>onnx>keras"]}), [subject("l", "tflite")], [first])
    assert [c.backend for c in chosen.cells] == ["tensorflow.graph"]


def test_a_step_with_one_purpose_is_refused_without_it() -> None:
    able = replace(SEVERAL, converters={"onnx>onnx:quantise": ("quantisation",)})
    with pytest.raises(SpecError, match="does nothing unless it is told which quantisation"):
        plan(spec(axes={"route": ["onnx>onnx:quantise"]}), [subject()], [able])
