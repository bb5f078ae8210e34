"""`harness sweep --dry-run` shows every step of a chain, where it is made, and what is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cells import CELL as PLAIN
from support.planned_chain import cell, converted, spec

from harness.cli.dry_run import _group_job, _places, _step, conversion_states
from harness.execution.bundles import artifact_folder
from harness.execution.checking import Check
from harness.execution.commit import commit_artifact
from harness.execution.standing import Work
from harness.plan.conversions import Conversion
from harness.plan.groups import Group
from harness.spec.models import Conversions

CELL = cell(spec())
QUANTISED = cell(spec(axes={"quantisation": ["dynamic"]}))


def chain() -> tuple[Conversion, ...]:
    assert CELL.conversion is not None
    return CELL.conversion.chain


def make(store: Path, step: Conversion, scratch: Path, share: float = 0.001) -> None:
    made = converted(scratch / step.key, f"model.{step.target_format}")
    check = Check(4, 1.0, share, 0.01, "conversions.tolerance", "reader", "reader")
    commit_artifact(store, step, scratch / step.key, made, check.record())


def states(store: Path, tolerance: float = 0.01) -> list[tuple[str, str, str]]:
    found = conversion_states([CELL, CELL], store, Conversions(tolerance=tolerance))
    return [(model, step.converter, state) for model, step, state in found]


def test_each_step_of_a_chain_is_there_or_is_to_be_made(tmp_path: Path) -> None:
    first, second = chain()
    store = tmp_path / "store"
    assert states(store) == [("m", "onnx>keras", "to make"), ("m", "keras>tflite", "to make")]
    make(store, first, tmp_path)
    assert states(store) == [("m", "onnx>keras", "made"), ("m", "keras>tflite", "to make")]
    make(store, second, tmp_path)
    (artifact_folder(store, first.key) / "manifest.json").unlink()
    assert states(store) == [("m", "onnx>keras", "not needed"), ("m", "keras>tflite", "made")]


def test_what_differs_by_more_than_is_allowed_now_is_foreseen(tmp_path: Path) -> None:
    first, second = chain()
    store = tmp_path / "store"
    make(store, first, tmp_path)
    make(store, second, tmp_path, share=0.05)
    assert [state for *_, state in states(store, 0.1)] == ["made", "made"]
    assert [state for *_, state in states(store, 0.02)] == ["made", "too far off"]


def test_a_step_is_told_with_its_way_and_what_is_wanted_of_it() -> None:
    first, second = chain()
    assert _step(first) == ": onnx>keras in maker"
    assert _step(second) == " by onnx>keras>tflite: step 2, keras>tflite in maker"
    assert QUANTISED.conversion is not None
    assert _step(QUANTISED.conversion).endswith("keras>tflite in maker, quantisation dynamic")


def test_what_is_made_already_needs_no_environment(tmp_path: Path) -> None:
    places = {("reader", "venv"), ("maker", "venv")}
    assert _places(CELL, tmp_path / "store") == places
    for step in chain():
        make(tmp_path / "store", step, tmp_path)
    assert _places(CELL, tmp_path / "store") == {("reader", "venv")}


@pytest.mark.parametrize(
    ("unanswered", "unkept", "timed", "said"),
    [
        (True, False, False, "answer: m, 2 cells with the A/A control"),
        (True, False, True, "answer, then time in turn: m, 2 cells with the A/A control"),
        (False, False, True, "time in turn: m, 2 cells with the A/A control"),
        (True, True, False, "answer, then keep IR: m, 2 cells with the A/A control"),
        (False, True, True, "keep IR, then time in turn: m, 2 cells with the A/A control"),
        (False, True, False, "keep IR of m, 1 cell"),
    ],
)
def test_a_groups_job_says_what_is_done(
    unanswered: bool, unkept: bool, timed: bool, said: str
) -> None:
    again = PLAIN.again(1)
    group = Group((PLAIN, again), PLAIN.key, again.key)
    keys = frozenset({PLAIN.key})
    work = Work(
        group,
        (PLAIN,),
        keys if unanswered else frozenset(),
        timed,
        keys if unkept else frozenset(),
    )
    assert _group_job(work) == said
