"""Both scenarios in one sweep, as a person asks for them: timed apart, and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.command import Harness
from support.small_model import write_inputs, write_model

SHORT = ("--rounds", 3, "--round-seconds", 0.01, "--min-seconds", 0, "--min-queries", 6)


def sessions(store: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in store.glob("sessions/*/session.json")]
    return {document["scenario"]: document for document in found}


def test_both_scenarios_are_timed_once_and_judged(harness: Harness, tmp_path: Path) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    arguments = (
        *("sweep", "--model", model, "--inputs", inputs, "--env", "onnxruntime-1.31", "--json"),
        *("--scenario", "single_stream", "--scenario", "offline"),
        *("--offline-batch", 4, "--offline-batch", 1, *SHORT),
    )
    first = harness(*arguments)
    assert first.status == 0, first.err
    found = sessions(tmp_path / "results")
    assert set(found) == {"single_stream", "offline"}
    stream, offline = found["single_stream"], found["offline"]
    assert set(stream["batch"].values()) == {1}
    [search] = offline["offline_search"].values()
    assert [one["batch"] for one in search] == [1, 4]
    assert len(set(offline["batch"].values())) == 1
    for document in found.values():
        assert len(document["members"]) == 2  # the cell and its A/A control
        assert all(told["equal"] for told in document["outputs_equal"].values())
        for cell in document["validity"]["cells"].values():
            assert "too-few-rounds" in {reason["kind"] for reason in cell["reasons"]}
    assert "INVALID (too-few-rounds)" in first.err
    [cell] = first.json["cells"]
    assert set(cell["scenarios"]) == {"single_stream", "offline"}
    assert cell["scenarios"]["offline"]["per_second"] > 0
    # Too few rounds stay too few: nothing is timed again for it.
    for _ in range(2):
        again = harness(*arguments)
        assert again.status == 0, again.err
    assert "Loading" not in again.err


def test_fresh_processes_time_again_what_was_timed_without_them(
    harness: Harness, tmp_path: Path
) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    arguments = (
        *("sweep", "--model", model, "--inputs", inputs, "--env", "onnxruntime-1.31", "--json"),
        *("--scenario", "single_stream", "--scenario", "offline", "--offline-batch", 4, *SHORT),
    )
    first = harness(*arguments)
    assert first.status == 0, first.err
    again = harness(*arguments, "--fresh-processes")
    assert again.status == 0, again.err
    documents = [
        json.loads(p.read_text()) for p in tmp_path.glob("results/sessions/*/session.json")
    ]
    assert sorted(one["fresh_processes"] for one in documents) == [False, False, True, True]
    for fresh in (one for one in documents if one["fresh_processes"]):
        assert fresh["floor"] < 0.01
        # The cell and its control, in three rounds each.
        assert [[one["round"] for one in starts] for starts in fresh["starts"].values()] == [
            [0, 1, 2],
            [0, 1, 2],
        ]
        assert all(told["equal"] for told in fresh["outputs_equal"].values())
    assert {cell["status"] for cell in again.json["cells"]} == {"resumed"}
    told = again.json["noise"][0]["time_scenarios"]
    assert {one["fresh_processes"] for one in told.values()} == {True}
    # They count where they are not asked for, too.
    assert "Loading" not in harness(*arguments).err
