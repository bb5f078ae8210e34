"""A sweep with a budget: probed, cut, told in result and page, and gone on with as it was chosen."""

from __future__ import annotations

import json
from pathlib import Path

from support.command import Harness
from support.small_model import write_inputs, write_model

HOURS = ("--rounds", 60, "--min-seconds", 3600)


def test_hours_are_cut_to_a_budget_and_that_is_said(harness: Harness, tmp_path: Path) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    asked = ("sweep", "--model", model, "--inputs", inputs, "--env", "onnxruntime-1.31", "--json")
    arguments = (*asked, "--level", "default", "--level", "basic", "--budget", "25s", *HOURS)
    # Making the environment would count.
    assert harness(*asked, "--no-timing", "--store", tmp_path / "before").status == 0
    first = harness(*arguments)
    assert first.status == 0, first.err
    assert "Probing cells" in first.err
    budget = first.json["budget"]
    assert budget["seconds"] == 25
    assert budget["probe"]["cells"] >= 1
    assert budget["foreseen_seconds"]["asked"] > 3600 > budget["foreseen_seconds"]["chosen"]
    assert 0 <= budget["timing_share"]["most"] < 0.01
    assert not budget["left_out"]
    assert [cell["status"] for cell in first.json["cells"]] == ["done", "done"]
    # Cut as they are, times are still of as many rounds as are believed.
    [session] = (tmp_path / "results").glob("sessions/*/session.json")
    assert json.loads(session.read_text())["rounds"] >= 15
    [page] = (tmp_path / "results" / "reports").glob("*.html")
    assert "Budget 25 s, taken" in page.read_text()

    again = harness(*arguments)
    assert again.status == 0, again.err
    assert "As this command chose before" in again.err
    assert "Probing" not in again.err
    assert again.json["budget"]["images"] == budget["images"]
    # Times that were INVALID are taken once more; answers are not.
    assert {cell["status"] for cell in again.json["cells"]} == {"resumed"}
    # The probe is nothing that a person asked for: it is no sweep to compare.
    one, other = (cell["key"] for cell in first.json["cells"])
    newest = harness("compare", "--baseline", one, "--candidate", other, "--json")
    assert newest.status == 0, newest.err


def test_without_time_no_sweep_is_tried(harness: Harness, tmp_path: Path) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    asked = ("sweep", "--model", model, "--inputs", inputs, "--env", "onnxruntime-1.31")
    done = harness(*asked, "--budget", "soon")
    assert done.status == 2
    assert "Write 90s, 10m, 2h or 1h30m." in done.err
    assert not (tmp_path / "results").exists()
