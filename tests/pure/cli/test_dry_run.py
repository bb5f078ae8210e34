"""`harness sweep --dry-run` shows every step of a chain, where it is made, and what is there."""

from __future__ import annotations

from pathlib import Path

from support.planned_chain import cell, converted, spec

from harness.cli.dry_run import _places, _step, conversion_states
from harness.execution.bundles import artifact_folder
from harness.execution.commit import commit_artifact
from harness.plan.conversions import Conversion

CELL = cell(spec())
QUANTISED = cell(spec(axes={"quantisation": ["dynamic"]}))


def chain() -> tuple[Conversion, ...]:
    assert CELL.conversion is not None
    return CELL.conversion.chain


def make(store: Path, step: Conversion, scratch: Path) -> None:
    made = converted(scratch / step.key, f"model.{step.target_format}")
    commit_artifact(store, step, scratch / step.key, made, None)


def states(store: Path) -> list[tuple[str, str, str]]:
    found = conversion_states([CELL, CELL], store)
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
