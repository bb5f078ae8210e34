"""The axes that concern inputs: which cells they make, and which are timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.pairing import axes
from harness.errors import SpecError
from harness.plan.build import Plan, build_plan
from harness.plan.feeds import USUAL, CellInputs, Feed, Feeds, feeds_of
from harness.plan.parts import DeviceHere, Network, Place, Stack, Subject
from harness.spec.axes import Axes
from harness.spec.load import check_spec
from harness.spec.models import EnvironmentEntry, SweepSpec

INPUTS = CellInputs(
    "pixels", "inputs", "pixels", {"channels": "rgb"}, "NCHW", raw_quantised=False,
    images_key="images", recipe="tf", recipe_key="r", prepared_by="pillow",
)  # fmt: skip
PLACE = Place("runner", {"cpu": DeviceHere("cpu", "A CPU")})
BGR = Feed(mistake="bgr")


def spec(**given: Any) -> SweepSpec:
    document = {"models": [{"path": "m.onnx"}], "data": {"path": "i"}, "environments": ["a"]}
    return check_spec({**document, **given}, "test")


def stack(name: str = "a", **changes: Any) -> Stack:
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


def subject(shared: Mapping[Feed, CellInputs | str], **changes: Any) -> Subject:
    made = Subject("m", Path("m.onnx"), "onnx", "sha", 0, "auto", Feeds(shared))
    return replace(made, **changes)


def plan(wanted: SweepSpec, one: Subject, *stacks: Stack) -> Plan:
    return build_plan(wanted, [one], stacks or [stack()], PLACE)


def test_feeds_are_every_combination_with_the_usual_one_first() -> None:
    named = Axes(preprocessing=("opencv", "reference"), mistake=("bgr", "none"))
    found = feeds_of(named)
    assert found[0] == USUAL
    assert set(found) == {
        Feed(p, "none", m, "own") for p in ("opencv", "reference") for m in ("bgr", "none")
    }


def test_each_way_of_feeding_is_a_cell_and_only_the_usual_one_is_timed() -> None:
    wanted = spec(axes={"mistake": ["none", "bgr"]})
    wrong = replace(INPUTS, normalise={"channels": "bgr"})
    made = plan(wanted, subject({USUAL: INPUTS, BGR: wrong}))
    right, mistaken = made.cells
    assert (right.feed, mistaken.feed) == (USUAL, BGR)
    assert right.key != mistaken.key
    assert axes(right.record(), mistaken.record()) == ["mistake"]
    assert {g.reference for g in made.groups if g.cells[0].feed == USUAL} == {right.key}
    assert [g.reference for g in made.groups if g.cells[0].feed == BGR] == [None]


def test_where_nothing_is_usual_the_first_way_is_timed() -> None:
    made = plan(spec(axes={"mistake": ["bgr"]}), subject({BGR: INPUTS}))
    assert made.groups[0].reference == made.cells[0].key


def test_a_way_that_cannot_be_is_skipped_with_its_reason() -> None:
    wanted = spec(axes={"mistake": ["none", "bgr"]})
    made = plan(wanted, subject({USUAL: INPUTS, BGR: "its recipe says so"}))
    assert len(made.cells) == 1
    assert [(s.environment, s.reason) for s in made.skipped] == [("a", "its recipe says so")]


def test_pixels_of_an_environments_own_make_one_family() -> None:
    """Each environment's pixels differ, but the images are the same: they are timed together."""
    native = Feed("native")
    feeds = Feeds(
        {},
        {
            (native, f"identity-{n}"): replace(
                INPUTS, pixels_key=n, inputs_key=n, preprocessing=f"by-{n}", prepared_by=n
            )
            for n in "ab"
        },
    )
    wanted = spec(axes={"preprocessing": ["native"]}, environments=["a", "b"])
    made = plan(wanted, replace(subject({}), feeds=feeds), stack("a"), stack("b"))
    a, b = made.cells
    assert (a.preprocessing, b.preprocessing) == ("by-a", "by-b")
    assert axes(a.record(), b.record()) == ["environment", "preprocessing"]
    assert len(made.groups) == 1


def test_variants_are_cells_that_differ_in_the_variant_alone() -> None:
    network = Network("mobilenet_v2", ({"padding": "same"}, {"padding": "symmetric"}))
    lone = stack(formats={"torch.eager": ("pt2",)}, converters={"weights>torch": ()})
    made = plan(spec(), subject({USUAL: INPUTS}, format="weights", network=network), lone)
    same, symmetric = made.cells
    assert same.conversion is not None
    assert symmetric.conversion is not None
    assert same.conversion.options == {
        "batch": 1,
        "architecture": "mobilenet_v2",
        "variant": {"padding": "same"},
    }
    assert same.key != symmetric.key
    assert same.conversion.key != symmetric.conversion.key
    assert axes(same.record(), symmetric.record()) == ["variant"]
    assert "padding=symmetric" in symmetric.label


def test_a_model_that_can_be_fed_in_no_way_is_told() -> None:
    with pytest.raises(SpecError, match="brings nothing that decodes") as told:
        plan(
            spec(axes={"preprocessing": ["native"]}),
            subject({Feed("native"): "a brings nothing that decodes"}),
        )
    assert told.value.message == "m can be fed in none of the ways that this sweep asks for."
    assert "reads" not in told.value.remedy


def test_an_environment_that_can_be_fed_in_no_way_is_told() -> None:
    native = Feed("native")
    feeds = Feeds({}, {(native, "identity-a"): INPUTS, (native, "identity-b"): "b decodes nothing"})
    wanted = spec(axes={"preprocessing": ["native"]}, environments=["a", "b"])
    with pytest.raises(SpecError, match="b decodes nothing") as told:
        plan(wanted, replace(subject({}), feeds=feeds), stack("a"), stack("b"))
    assert told.value.message.startswith("Environment b can be fed in none of the ways")


def test_a_model_that_nothing_runs_is_told_so_whatever_it_is_fed() -> None:
    with pytest.raises(SpecError, match="None of the environments can run m"):
        plan(
            spec(axes={"preprocessing": ["native"]}),
            subject({Feed("native"): "a decodes nothing"}, format="tflite"),
        )


def test_two_ways_that_are_the_same_are_one_cell_and_that_is_said() -> None:
    by_name, native = Feed("torchvision"), Feed("native")
    wanted = spec(axes={"preprocessing": ["torchvision", "native"]})
    made = plan(wanted, subject({by_name: INPUTS, native: INPUTS}))
    assert [cell.feed for cell in made.cells] == [by_name]
    assert [(s.model, s.environment, s.backend, s.reason) for s in made.skipped] == [
        ("m", "a", "onnxruntime", "preprocessing native is the same as preprocessing torchvision")
    ]


def test_another_library_that_corrupts_is_another_corruption() -> None:
    fog = Feed(corruption="fog:3")
    cells = [
        plan(spec(axes={"corruption": ["fog:3"]}), subject({fog: inputs})).cells[0].record()
        for by in ("one", "two")
        for inputs in [replace(INPUTS, pixels_key=by, inputs_key=by, corrupted_by=by)]
    ]
    assert [cell["corrupted_by"] for cell in cells] == ["one", "two"]
    assert axes(*cells) == ["corruption"]
