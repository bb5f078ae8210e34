"""`harness status` and `harness report`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from support.store_factory import StoreFactory, logits
from typer.testing import CliRunner

from harness.cli import report, status
from harness.errors import StoreError
from harness.store import layout

app = typer.Typer()
app.command("status")(status.command)
app.command("report")(report.command)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(10), [logits(10, 4)])
    factory.sweep([key], sweep_id="older", created="2026-01-01T00:00:00Z")
    factory.sweep([key], sweep_id="newer", created="2026-01-02T00:00:00Z")
    return tmp_path


def test_status_says_what_there_is(store: Path) -> None:
    result = CliRunner().invoke(app, ["status", "--store", str(store)])
    assert result.exit_code == 0
    assert ": 1 cell, 0 controls, 0 timing sessions, 0 cells failed" in result.stdout
    assert "newer" in result.stdout


def test_status_as_json(store: Path) -> None:
    result = CliRunner().invoke(app, ["status", "--store", str(store), "--json"])
    found = json.loads(result.stdout)
    assert (found["cells"], found["sweeps"], found["failures"]) == (1, 2, [])


def test_the_report_of_the_newest_sweep(store: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--store", str(store)])
    assert result.stdout.strip() == str(store / "reports" / "newer.html")
    assert (store / "reports" / "newer.html").is_file()


def test_the_report_is_of_the_newest_sweep_that_somebody_asked_for(store: Path) -> None:
    factory = StoreFactory(store)
    factory.sweep([], sweep_id="probe", created="2026-01-03T00:00:00Z", study=True)
    result = CliRunner().invoke(app, ["report", "--store", str(store)])
    assert result.stdout.strip() == str(store / "reports" / "newer.html")


def test_where_there_are_sweeps_of_studies_alone_the_report_is_of_the_newest(
    tmp_path: Path,
) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(10), [logits(10, 4)])
    for day, name in enumerate(("first", "second"), start=1):
        created = f"2026-01-0{day}T00:00:00Z"
        factory.sweep([key], sweep_id=name, created=created, study=True)
    result = CliRunner().invoke(app, ["report", "--store", str(tmp_path)])
    assert result.stdout.strip() == str(tmp_path / "reports" / "second.html")


def test_status_counts_what_only_studies_tried_and_lists_it_as_json(store: Path) -> None:
    factory = StoreFactory(store)
    probe = factory.cell(factory.inputs(3), [logits(3, 4)], settings={"probe": 1})
    [asked] = [
        cell["key"] for cell in layout.read_document(layout.sweep_path(store, "older"))["cells"]
    ]
    factory.attempt("ab" * 32, message="a pass hangs")
    again = {"key": "ab" * 32, "settings": {}}
    factory.cells[asked] = {"key": asked, "settings": {}}
    factory.sweep([asked, probe], sweep_id="probing", failed=[again], study=True)
    result = CliRunner().invoke(app, ["status", "--store", str(store)])
    assert asked[:8] in result.stdout
    assert probe[:8] not in result.stdout
    assert "a pass hangs" not in result.stdout
    assert "only studies tried them: 1 answered cell and 1 failure" in result.stdout
    assert "probing, of a study" in result.stdout
    found = json.loads(CliRunner().invoke(app, ["status", "--store", str(store), "--json"]).stdout)
    assert {cell["key"]: cell["study"] for cell in found["cells_listed"]} == {
        asked: False,
        probe: True,
    }
    assert [failure["study"] for failure in found["failures"]] == [True]
    assert {one["id"] for one in found["sweeps_listed"] if one["study"]} == {"probing"}


@pytest.mark.parametrize("name", ["status", "report"])
def test_an_absent_store_is_refused(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(app, [name, "--store", str(tmp_path / "nothing")])
    assert isinstance(result.exception, StoreError)


def test_rows_of_one_environment_can_be_told_apart(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(10)
    for place in ("venv", "docker"):
        factory.cell(inputs, [logits(10, 4)], environment="e-1", executor=place)
    factory.attempt(
        "ab" * 32, environment="e-2", model="mobilenet", executor="docker", device="cpu"
    )
    factory.attempt("cd" * 32, environment="e-2", model="mobilenet", executor="venv", device="cpu")
    result = CliRunner().invoke(app, ["status", "--store", str(tmp_path)])
    for place in ("e-1, venv", "e-1, docker", "e-2, venv", "e-2, docker"):
        assert place in result.stdout
    listed = json.loads(
        CliRunner().invoke(app, ["status", "--store", str(tmp_path), "--json"]).stdout
    )["cells_listed"]
    assert {cell["executor"] for cell in listed} == {"venv", "docker"}
