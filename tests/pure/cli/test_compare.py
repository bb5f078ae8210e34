"""`harness compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from support.store_factory import StoreFactory, flip_first, logits
from support.timed_sweeps import timed_sweep
from typer.testing import CliRunner, Result

from harness.cli import compare
from harness.errors import EXIT_CELLS_FAILED, DifferencesError, UsageError

OLD, NEW = "onnxruntime-1.17", "onnxruntime-1.31"

app = typer.Typer()
app.command()(compare.command)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    factory = StoreFactory(tmp_path)
    x = logits(40, 37)
    labels = [int(c) for c in x.argmax(axis=1)]
    inputs = factory.inputs(40, labels, classes=[f"kind {i}" for i in range(37)])
    factory.cell(inputs, [x], environment=OLD)
    factory.cell(inputs, [flip_first(x, 25)], environment=NEW)
    return tmp_path


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--store", str(store)])


def test_the_verdict_is_the_first_line_and_flips_follow(store: Path) -> None:
    result = run(store, OLD, NEW)
    assert result.exit_code == 0
    first = result.stdout.splitlines()[0]
    assert first == f"Answers changed: 25 of 40 labels (62.5 %) from {OLD} to {NEW}."
    assert "images/00019.png" in result.stdout
    assert "images/00020.png" not in result.stdout
    assert "5 more" in result.stdout


def test_json_has_every_measure_and_every_flip(store: Path) -> None:
    result = run(store, "--baseline", OLD, "--candidate", NEW, "--json")
    found = json.loads(result.stdout)
    (pair,) = found["pairs"]
    assert len(pair["flipped"]) == 25
    assert pair["flipped"][0]["a_name"].startswith("kind ")
    assert pair["agreement"]["broke"] == 25
    assert pair["agreement"]["mcnemar_p"] < 1e-6
    assert found["allowed"] is None


def test_a_difference_that_is_not_allowed_ends_with_1_and_names_the_images(store: Path) -> None:
    arguments = ("--baseline", OLD, "--candidate", NEW, "--fail-on", "max_abs_diff > 1e-3")
    result = run(store, *arguments, "--fail-on", "flips > 0.1%")
    assert isinstance(result.exception, DifferencesError)
    assert result.exception.exit_code == 1
    assert result.stdout.startswith("Not allowed: max_abs_diff is")
    assert "and 1 more." in result.stdout.splitlines()[0]
    assert "images/00003.png" in result.stdout
    decided = json.loads(run(store, *arguments, "--json").stdout)
    assert decided["allowed"] is False
    assert len(decided["pairs"][0]["violations"][0]["images"]) == 25


def test_what_is_allowed_ends_with_0(store: Path) -> None:
    result = run(store, OLD, NEW, "--fail-on", "flips > 90%")
    assert result.exit_code == 0
    assert result.stdout.startswith("Allowed. ")


@pytest.mark.parametrize(
    "arguments",
    [(), (OLD,), (OLD, NEW, "--baseline", OLD), (OLD, NEW, "--fail-on", "flips ~ 3"), (OLD, OLD)],
)
def test_bad_usage_is_refused(store: Path, arguments: tuple[str, ...]) -> None:
    assert isinstance(run(store, *arguments).exception, UsageError)


def test_a_candidate_that_failed_since_is_said_first_and_is_not_allowed(store: Path) -> None:
    factory = StoreFactory(store)
    inputs = factory.inputs(40, [0] * 40)
    old = factory.cell(inputs, [logits(40, 37)], environment=OLD, threads=2)
    new = {**factory.cells[old], "key": "f" * 64, "environment": NEW}
    reason = {"key": "f" * 64, "kind": "signal", "message": "it crashed"}
    factory.sweep([old], failed=[new], failures=[reason])
    result = run(store, OLD, NEW)
    assert result.exit_code == EXIT_CELLS_FAILED
    assert result.stdout.startswith("Could not be measured: ")
    assert "it crashed" in result.stdout.splitlines()[0]
    assert result.stdout.count("it crashed") == 1
    result = run(store, OLD, NEW, "--fail-on", "flips > 90%")
    assert isinstance(result.exception, DifferencesError)
    assert result.stdout.startswith("Not allowed: could not be measured: ")
    as_json = run(store, OLD, NEW, "--json")
    assert as_json.exit_code == EXIT_CELLS_FAILED
    found = json.loads(as_json.stdout)
    assert [cell["failure"] for cell in found["cells"]] == [None, "signal: it crashed"]


def test_a_printed_name_of_a_pin_may_be_typed(store: Path) -> None:
    result = run(store, "onnxruntime==1.17.3/onnxruntime", "onnxruntime==1.31.1, venv")
    assert result.exit_code == 0
    assert f"from {OLD} to {NEW}" in result.stdout


def test_an_image_and_an_interpreter_may_be_typed(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(4), [logits(4, 3)]
    names = ("image:some/place:5000/torch@sha256:0123456789ab", "python:/opt/a=b/bin/python")
    for name in names:
        factory.cell(inputs, x, environment=name)
    result = run(tmp_path, *names)
    assert result.exit_code == 0
    assert f"{names[0]} to {names[1]}" in result.stdout


@pytest.mark.parametrize(
    ("rules", "code", "allowed"),
    [
        (["time_ratio > 1.05"], EXIT_CELLS_FAILED, None),
        (["slower > 0", "flips > 5"], EXIT_CELLS_FAILED, None),
        (["time_ratio > 1.05", "flips > 0"], 1, False),
        (["flips > 5"], 0, True),
        ([], 0, None),
    ],
)
def test_an_invalid_time_ends_with_3_unless_another_rule_decides(
    tmp_path: Path, rules: list[str], code: int, allowed: bool | None
) -> None:
    keys = timed_sweep(tmp_path, drifting=2)
    given = [part for rule in rules for part in ("--fail-on", rule)]
    result = run(tmp_path, keys[0], keys[2], "--json", *given)
    assert json.loads(result.stdout)["allowed"] is allowed
    refused = isinstance(result.exception, DifferencesError)
    assert (1 if refused else result.exit_code) == code


@pytest.mark.parametrize(("rule", "code"), [("slower > 20%", 1), ("slower > 50%", 0)])
def test_a_valid_slow_down_is_decided(tmp_path: Path, rule: str, code: int) -> None:
    keys = timed_sweep(tmp_path)
    result = run(tmp_path, keys[0], keys[2], "--fail-on", rule)
    assert isinstance(result.exception, DifferencesError) == (code == 1)
    assert "slower: takes" in result.stdout
