"""Sessions as they are committed: checked, compared, judged, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from harness.errors import ExecutionError
from harness.execution.bundles import answers_folder, seal, session_folder, validate
from harness.execution.session_bundles import commit_session, reasons_against
from harness.execution.standing import past_sessions

KEYS = ("ab" * 32, "cd" * 32)


def made(folder: Path, *, rounds: int = 16, **more: Any) -> Path:
    folder.mkdir()
    chance = np.random.default_rng(0)
    rows = [
        (member, number, i, 10_000_000 + int(chance.integers(100_000)))
        for member in (0, 1)
        for number in range(rounds)
        for i in range(8)
    ]
    np.save(folder / "timings.npy", np.array(rows, dtype=np.int64))
    document = {
        "schema_version": 2,
        "scenario": "single_stream",
        "members": [{"key": key, "position": i} for i, key in enumerate(KEYS)],
        "reference": KEYS[0],
        "control": None,
        "rounds": rounds,
        "warmup": {key: {"steady": True} for key in KEYS},
        "turns": [],
        "cores": [1],
        **more,
    }
    (folder / "session.json").write_text(json.dumps(document))
    (folder / "samples.jsonl").write_text('{"t_ns": 0, "load": 1.0, "absent": {}}\n{"t_ns": 5')
    return folder


@pytest.mark.parametrize(
    "rows", [np.zeros((0, 4), np.int64), np.array([[0, 0, 0, 0]]), np.array([[7, 0, 0, 5]])]
)
def test_samples_that_cannot_be_are_refused(tmp_path: Path, rows: Any) -> None:
    np.save(tmp_path / "timings.npy", rows)
    members = [{"key": "k", "position": 0}]
    (tmp_path / "session.json").write_text(json.dumps({"schema_version": 1, "members": members}))
    with pytest.raises(ExecutionError, match="session"):
        commit_session(tmp_path, tmp_path)


def test_a_session_is_kept_with_its_samples_and_is_judged(tmp_path: Path) -> None:
    document = commit_session(tmp_path, made(tmp_path / "made"))
    assert set(document["validity"]["cells"]) == set(KEYS)
    assert reasons_against(document) == []
    bundle = session_folder(tmp_path, document["id"])
    validate(bundle)
    assert json.loads((bundle / "session.json").read_text()) == document
    assert (bundle / "samples.jsonl").read_text().startswith('{"t_ns": 0')
    rows = duckdb.read_parquet(str(bundle / "timings.parquet"))
    counted = rows.aggregate("cell, count(*)", "cell").order("cell").fetchall()
    assert counted == [(key, 128) for key in KEYS]


def test_what_is_against_it_is_told_and_found_again(tmp_path: Path) -> None:
    document = commit_session(tmp_path, made(tmp_path / "made", rounds=4))
    reasons = reasons_against(document)
    assert {(reason["kind"], reason["key"]) for reason in reasons} >= {
        ("too-few-rounds", key) for key in KEYS
    }
    [session] = past_sessions(tmp_path)
    assert "too-few-rounds" in session.against[KEYS[1]]


def test_timed_outputs_are_compared_with_the_answers_that_were_committed(tmp_path: Path) -> None:
    answers = np.arange(12, dtype=np.float32).reshape(4, 3)
    folder = answers_folder(tmp_path, KEYS[0])
    folder.mkdir(parents=True)
    np.save(folder / "logits.npy", answers)
    (folder / "answers.json").write_text('{"outputs": [{"index": 0, "file": "logits.npy"}]}')
    work = tmp_path / "work"
    work.mkdir()
    np.save(work / "timed_0.npy", answers[1:3] + 1)
    fetched = {
        "folder": str(work),
        "outputs": [{"index": 0, "file": "timed_0.npy"}],
        "first_row": 1,
        "rows": 2,
    }
    told = {KEYS[0]: fetched, KEYS[1]: {"absent": "not there"}}
    document = commit_session(tmp_path, made(tmp_path / "made"), told)
    assert document["outputs_equal"][KEYS[0]]["equal"] is False
    assert document["outputs_equal"][KEYS[1]] == {"absent": "not there"}
    kinds = {reason["kind"] for reason in document["validity"]["cells"][KEYS[0]]["reasons"]}
    assert kinds == {"unequal-outputs"}


def test_a_session_of_the_first_form_is_still_read(tmp_path: Path) -> None:
    """Stores of before have no scenario, no batches and no verdict."""
    folder = made(tmp_path / "made")
    document = commit_session(tmp_path, folder)
    path = session_folder(tmp_path, document["id"]) / "session.json"
    old = {k: document[k] for k in ("members", "reference", "control", "rounds")}
    path.write_text(json.dumps({"schema_version": 1, **old}))
    manifest = path.parent / "manifest.json"
    manifest.unlink()
    seal(path.parent)
    [session] = past_sessions(tmp_path)
    assert (session.scenario, session.batches, session.against) == ("single_stream", None, {})
    assert session.members == set(KEYS)
