"""A ceiling on instruction sets: which cells there are, which are skipped, and what their keys hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cells import CELL

from harness.analysis.pairing import axes
from harness.datasets.inputs import PreparedInputs
from harness.environments.instruction_sets import FLAGS, LADDER
from harness.execution.assemble import infer_job
from harness.plan.build import Plan, build_plan
from harness.plan.feeds import USUAL, CellInputs, Feeds
from harness.plan.parts import DeviceHere, Place, Stack, Subject
from harness.spec.models import EnvironmentEntry, SweepSpec
from harness.store.naming import is_described, names

FLAGS_OF_AVX2 = frozenset(f for step in ("sse4.1", "avx", "avx2") for f in FLAGS[step])
INPUTS = CellInputs("pixels", "inputs", "pixels", None, "NCHW", raw_quantised=False)
KEPT = ("avx", "avx2", "avx512")


def stack(name: str = "t", kept: Any = KEPT, **entry: Any) -> Stack:
    return Stack(
        entry=EnvironmentEntry(name=name, **entry),
        name=name,
        stack="torch",
        version="1",
        identity=f"identity-{name}",
        formats={"torch.eager": ("pt2",)},
        converters={},
        executor="venv",
        accelerator="cuda",
        instruction_sets={} if kept is None else {"torch.eager": kept},
    )


def plan(ceilings: list[str], *stacks: Stack, device: str = "cpu") -> Plan:
    subject = Subject("m", CELL.model_path, "pt2", "sha", 0, "auto", Feeds({USUAL: INPUTS}))
    spec = SweepSpec.model_validate(
        {
            "models": [{"path": "m.pt2"}],
            "data": {"path": "d"},
            "environments": [one.name for one in stacks],
            "axes": {"instruction_set": ceilings, "device": [device]},
        }
    )
    place = Place("runner", {device: DeviceHere(device, "A device")}, FLAGS_OF_AVX2)
    return build_plan(spec, [subject], stacks, place)


def test_each_ceiling_that_is_kept_is_a_cell_of_the_same_group() -> None:
    made = plan(["own", "avx", "avx2"], stack())
    assert [cell.instruction_set for cell in made.cells] == ["own", "avx", "avx2"]
    assert made.skipped == ()
    [group] = made.groups
    assert {cell.key for cell in made.cells} <= {cell.key for cell in group.cells}
    assert group.reference == made.cells[0].key


@pytest.mark.parametrize(
    ("kept", "ceiling", "words"),
    [
        (KEPT, "sse4.1", r"cannot be held to .* sse4.1; it keeps to avx, avx2, avx512"),
        (KEPT, "avx512", r"does not reach the instruction set avx512: it lacks avx512f, avx512cd"),
        ("no switch", "avx2", r"torch.eager cannot be held to .* avx2: no switch"),
        (None, "avx2", r"its environment names none"),
    ],
)
def test_one_that_cannot_be_had_is_skipped_with_its_reason(
    kept: Any, ceiling: str, words: str
) -> None:
    made = plan(["own", ceiling], stack(kept=kept))
    assert [cell.instruction_set for cell in made.cells] == ["own"]
    [skipped] = made.skipped
    assert re.search(words, skipped.reason)


def test_a_gpu_has_no_ceiling() -> None:
    [skipped] = plan(["own", "avx2"], stack(), device="cuda").skipped
    assert "is a ceiling for the CPU, and the cell is for cuda" in skipped.reason


def test_an_environment_may_have_ceilings_of_its_own() -> None:
    own = stack("u", instruction_set=["avx2"])
    made = plan(["own"], stack(), own)
    assert [(c.environment, c.instruction_set) for c in made.cells] == [("t", "own"), ("u", "avx2")]


def test_a_cell_without_a_ceiling_keeps_the_key_that_it_had_before_there_were_any() -> None:
    # Computed by the version before this axis.
    assert CELL.key == "7206d05fe7b99bbffb9c2a02de688c6658f5f49166ea93a2c828cf12284dfce6"
    assert "instruction_set" not in CELL.identity
    keys = {replace(CELL, instruction_set=one).key for one in LADDER}
    assert len(keys | {CELL.key}) == len(LADDER) + 1


def test_a_ceiling_is_told_in_the_label_the_record_and_the_runners_document() -> None:
    held = replace(CELL, instruction_set="avx2")
    assert held.label == "m · e · b (up to avx2)"
    assert (CELL.record()["instruction_set"], held.record()["instruction_set"]) == ("own", "avx2")


def test_two_ceilings_are_one_axis_apart_and_named_by_it() -> None:
    cells = [replace(CELL, instruction_set=one).record() for one in ("own", "avx2")]
    assert axes(*cells) == ["instruction_set"]
    old = {name: value for name, value in cells[0].items() if name != "instruction_set"}
    assert axes(old, cells[0]) == []
    assert axes(old, cells[1]) == ["instruction_set"]
    called = names(cells)
    assert list(called.values()) == ["e, own instruction set", "e, up to avx2"]
    assert [is_described(cell, "e, up to avx2") for cell in cells] == [False, True]


def test_the_runner_is_told_of_a_ceiling_and_of_nothing_else() -> None:
    prepared = PreparedInputs(
        "k", Path("x.npy"), "array", 1, ("a",), (None,), ("s",), None, (), "array"
    )
    assert "instruction_set" not in infer_job(CELL, "m", prepared)
    held = replace(CELL, instruction_set="avx2")
    assert infer_job(held, "m", prepared)["instruction_set"] == "avx2"
