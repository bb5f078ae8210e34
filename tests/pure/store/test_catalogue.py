"""The catalogue: what it holds, and that it is swapped in whole."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import duckdb
import numpy as np
import pytest
from support.store_factory import StoreFactory, flip_first, logits
from support.timed_sweeps import timed_sweep

from harness.analysis.store_status import store_status
from harness.analysis.sweep_result import sweep_result
from harness.analysis.time_ratio import time_ratio
from harness.analysis.timing import round_medians
from harness.errors import StoreError
from harness.store import catalogue
from harness.store.query import run_query
from harness.store.sessions import load_session


def rows(store: Path, sql: str) -> list[tuple[object, ...]]:
    return run_query(store, sql).rows


def sample(root: Path) -> tuple[StoreFactory, str, str]:
    factory = StoreFactory(root)
    x = logits(40, 6)
    labels = [int(c) for c in x.argmax(axis=1)]
    inputs = factory.inputs(40, labels, classes=list("abcdef"), excluded=[("bad.png", "cut off")])
    a = factory.cell(inputs, [x], settings={"level": "all"})
    b = factory.cell(inputs, [flip_first(x, 3)], environment="openvino-2026.4")
    factory.session({a: times(1.0), b: times(2.0, 1)})
    factory.sweep([a, b], sessions=["session-1"])
    return factory, a, b


def times(millis: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(1, 0.02, (15, 8))
    return (noise * millis * 1e6).astype(np.int64)


def test_accuracy_a_cell_and_flips_a_pair(tmp_path: Path) -> None:
    _, a, b = sample(tmp_path)
    found = rows(tmp_path, "SELECT cell, images, top1 FROM accuracy")
    assert found == [(a, 40, 1.0), (b, 40, pytest.approx(37 / 40))]
    assert rows(tmp_path, "SELECT a, b, images, flips, flip_share FROM pairs") == [
        (a, b, 40, 3, 3 / 40)
    ]
    listed = rows(tmp_path, "SELECT name, label = class_a, class_a <> class_b FROM flips")
    assert listed == [(f"images/{i:05d}.png", True, True) for i in range(3)]


def test_small_tables(tmp_path: Path) -> None:
    factory, _, _ = sample(tmp_path)
    factory.attempt("ab" * 32, "out-of-memory", "too large")
    assert rows(tmp_path, "SELECT kind, message, signal FROM failures") == [
        ("out-of-memory", "too large", 9)
    ]
    assert rows(tmp_path, "SELECT id, cells, done, failed FROM sweeps") == [("sweep-1", 2, 2, 0)]
    assert rows(tmp_path, "SELECT name, reason FROM excluded") == [("bad.png", "cut off")]
    assert rows(tmp_path, "SELECT settings, classes, images FROM cells WHERE settings <> ''") == [
        ("level=all", 6, 40)
    ]
    assert rows(tmp_path, "SELECT count(*) FROM problems") == [(0,)]
    assert rows(tmp_path, "SELECT count(*) FROM images WHERE label IS NOT NULL") == [(40,)]


def test_time_ratios_equal_those_of_the_analysis(tmp_path: Path) -> None:
    _, a, b = sample(tmp_path)
    samples = load_session(tmp_path, "session-1").samples
    expected = time_ratio(
        *(round_medians(samples[k].rounds, samples[k].durations_ns) for k in (a, b))
    )
    assert expected is not None
    found = rows(tmp_path, "SELECT a, b, rounds, ratio, low, high FROM time_ratios")
    assert found == [
        (a, b, 15, *(pytest.approx(v) for v in (expected.ratio, expected.low, expected.high)))
    ]
    assert rows(tmp_path, "SELECT samples, rounds FROM latency") == [(120, 15), (120, 15)]


@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_the_views_interval_is_widened_as_that_of_the_analysis(
    tmp_path: Path, alike: float
) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), logits(9, 4)
    a, b = (factory.cell(inputs, [x], environment=name) for name in ("e-1", "e-2"))
    drawn = np.random.default_rng(8)
    noise = drawn.normal(0, 0.05, (2, 16))
    for step in range(1, 16):
        noise[:, step] += alike * noise[:, step - 1]
    tables = (8e6 * np.exp(noise[:, :, None] + drawn.normal(0, 0.01, (2, 16, 5)))).astype(np.int64)
    factory.session(dict(zip((a, b), tables, strict=True)), batch={a: 4, b: 16})
    samples = load_session(tmp_path, "session-1").samples
    expected = time_ratio(
        *(
            round_medians(samples[key].rounds, samples[key].durations_ns, images)
            for key, images in ((a, 4), (b, 16))
        )
    )
    assert expected is not None
    assert (len(expected.notes) > 0) == (alike > 0)
    assert rows(tmp_path, "SELECT ratio, low, high FROM time_ratios") == [
        tuple(pytest.approx(v) for v in (expected.ratio, expected.low, expected.high))
    ]


def test_times_have_their_scenario_throughput_and_validity(tmp_path: Path) -> None:
    keys = timed_sweep(tmp_path, drifting=2)
    found = rows(
        tmp_path,
        "SELECT cell, valid, batch, p95_ns <= max_ns AND min_ns < p50_ns AND std_ns > 0, "
        "round(images_per_second / queries_per_second) FROM latency WHERE scenario = 'offline'",
    )
    batches = (8, 8, 16, 4, 8)
    assert sorted(found) == sorted(
        (key, key != keys[2], batch, True, batch) for key, batch in zip(keys, batches, strict=True)
    )
    ratios = rows(
        tmp_path,
        "SELECT scenario, ratio, valid FROM time_ratios WHERE environment_b = 'torch-2.13' "
        "AND environment_a = 'onnxruntime-1.31' AND NOT a IN (SELECT control FROM sessions) "
        "AND NOT b IN (SELECT control FROM sessions) ORDER BY ALL",
    )
    assert ratios == [
        ("offline", pytest.approx(0.65, rel=0.01), False),
        ("single_stream", pytest.approx(1.3, rel=0.01), False),
    ]
    assert rows(tmp_path, "SELECT session, key, kind FROM time_reasons ORDER BY ALL") == [
        ("offline", keys[2], "drift"),
        ("single", keys[2], "drift"),
    ]
    assert rows(tmp_path, "SELECT DISTINCT valid, floor FROM sessions") == [(False, 0.01)]
    assert rows(tmp_path, "SELECT DISTINCT stage, median_ns FROM stages ORDER BY ALL") == [
        ("compute", 1_850_000),
        ("preprocess", 40_000),
    ]
    members = "SELECT DISTINCT peak_rss_mib, joules_per_query FROM session_members"
    assert rows(tmp_path, f"{members} WHERE session = 'single'") == [(123.4, None)]


def test_the_views_floor_is_what_the_control_came_out_apart(tmp_path: Path) -> None:
    keys = timed_sweep(tmp_path, floor=0.001)
    medians = [
        round_medians(one.rounds, one.durations_ns)
        for one in (load_session(tmp_path, "single").samples[keys[at]] for at in (0, 4))
    ]
    control = time_ratio(*medians)
    assert control is not None
    expected = max(0.001, control.apart)
    query = "SELECT a, b, floor FROM time_ratios WHERE scenario = 'single_stream'"
    floors = {frozenset((a, b)): floor for a, b, floor in rows(tmp_path, query)}
    assert floors[frozenset((keys[0], keys[4]))] == 0.001
    assert floors[frozenset((keys[0], keys[2]))] == pytest.approx(expected)
    found = {p["b"]: p for p in sweep_result(tmp_path, "sweep-1")["pairs"] if p["a"] == keys[0]}
    assert found[keys[2]]["time_verdict"]["floor"] == pytest.approx(expected)


def test_sessions_of_before_have_no_validity(tmp_path: Path) -> None:
    sample(tmp_path)
    assert rows(tmp_path, "SELECT scenario, valid, floor FROM sessions") == [
        ("single_stream", None, None)
    ]
    assert rows(tmp_path, "SELECT valid FROM time_ratios") == [(None,)]
    assert rows(tmp_path, "SELECT DISTINCT valid FROM latency") == [(None,)]
    assert rows(tmp_path, "SELECT count(*) FROM time_reasons") == [(0,)]


def test_an_empty_store_gives_empty_tables(tmp_path: Path) -> None:
    names = "cells images answers accuracy timings latency sessions time_ratios pairs flips "
    names += "failures sweeps excluded problems"
    for name in names.split():
        assert rows(tmp_path, f"FROM {name}") == []


def test_a_damaged_bundle_is_left_out_and_named(tmp_path: Path) -> None:
    factory, a, b = sample(tmp_path)
    factory.damage(b)
    (tmp_path / "sweeps" / "sweep-1" / "sweep.json").write_text("{")
    catalogue.refresh(tmp_path)
    assert rows(tmp_path, "SELECT key FROM cells") == [(a,)]
    problems = dict(rows(tmp_path, "SELECT path, message FROM problems"))  # type: ignore[arg-type]
    assert set(problems) == {f"answers/{b[:2]}/{b}", "sweeps/sweep-1/sweep.json"}
    assert rows(tmp_path, "SELECT * FROM pairs") == []


def test_a_document_with_other_content_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    sample(tmp_path)
    path = tmp_path / "sweeps" / "odd" / "sweep.json"
    path.parent.mkdir()
    path.write_text('{"schema_version": 1}')
    newer = tmp_path / "sweeps" / "newer" / "sweep.json"
    newer.parent.mkdir()
    newer.write_text('{"schema_version": 2}')
    problems = dict(rows(tmp_path, "SELECT path, message FROM problems"))  # type: ignore[arg-type]
    assert "not the expected document" in problems["sweeps/odd/sweep.json"]
    assert "schema version 2" in problems["sweeps/newer/sweep.json"]
    assert rows(tmp_path, "SELECT count(*) FROM cells") == [(2,)]


def test_nan_scores_are_no_label(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(5, 4)
    y = x.copy()
    y[2] = np.nan
    inputs = factory.inputs(5, [int(c) for c in x.argmax(axis=1)])
    factory.cell(inputs, [x])
    factory.cell(inputs, [y], environment="b-1")
    assert rows(tmp_path, "SELECT flips FROM pairs") == [(1,)]
    found = rows(tmp_path, "SELECT top1 FROM accuracy ORDER BY top1")
    assert found[0] == (pytest.approx(0.2, abs=0.81),)
    assert found[0][0] <= 0.8  # type: ignore[operator]


def test_it_is_made_again_only_when_the_store_changed(tmp_path: Path) -> None:
    factory, _, _ = sample(tmp_path)

    def made() -> int:
        with catalogue.opened(tmp_path):
            return catalogue.catalogue_path(tmp_path).stat().st_ino

    before = made()
    assert made() == before
    factory.attempt("cd" * 32)
    assert not catalogue.is_current(tmp_path)
    assert made() != before


def test_a_moved_store_is_read_at_its_new_place(tmp_path: Path) -> None:
    sample(tmp_path / "here")
    catalogue.refresh(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "it's there")
    assert rows(tmp_path / "it's there", "SELECT flips FROM pairs") == [(3,)]


def test_a_broken_catalogue_file_is_made_again(tmp_path: Path) -> None:
    sample(tmp_path)
    catalogue.catalogue_path(tmp_path).write_bytes(b"no database")
    assert rows(tmp_path, "SELECT count(*) FROM cells") == [(2,)]


def test_a_reader_in_another_process_keeps_its_catalogue_during_the_swap(tmp_path: Path) -> None:
    factory, _, _ = sample(tmp_path)
    path = catalogue.refresh(tmp_path)
    program = (
        "import duckdb, sys\n"
        "c = duckdb.connect(sys.argv[1], read_only=True)\n"
        "print('open', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(c.execute('SELECT count(*) FROM failures').fetchone()[0], flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdin is not None
        assert reader.stdout.readline() == "open\n"
        factory.attempt("ab" * 32)
        catalogue.refresh(tmp_path)
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "0\n"
    assert rows(tmp_path, "SELECT count(*) FROM failures") == [(1,)]


def test_refreshes_at_once_leave_one_whole_catalogue(tmp_path: Path) -> None:
    sample(tmp_path)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            catalogue.refresh(tmp_path)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [p.name for p in tmp_path.iterdir() if "catalogue" in p.name] == ["catalogue.duckdb"]
    with duckdb.connect(str(catalogue.catalogue_path(tmp_path)), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM cells").fetchall() == [(2,)]


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, error: duckdb.Error) -> None:
    """Let DuckDB fail at every file as it does on a full disk, and temporary folders too."""
    fill = catalogue.fill

    def filled(connection: duckdb.DuckDBPyConnection, store: Path) -> None:
        fill(connection, store)
        (row,) = connection.execute(
            "SELECT path FROM duckdb_databases() WHERE NOT internal"
        ).fetchall()
        if row[0] is not None:
            # A new one each time: an exception keeps the frames that it went through.
            raise type(error)(*error.args)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalogue, "fill", filled)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)


FULL = [
    duckdb.TransactionException("Failed to commit: could not write: No space left on device"),
    duckdb.IOException("Could not write file: No space left on device"),
    duckdb.FatalException("database has been invalidated: Disk quota exceeded"),
]


@pytest.mark.parametrize("error", FULL, ids=lambda e: type(e).__name__)
def test_a_full_disk_is_named_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error
) -> None:
    sample(tmp_path)
    fill_the_disk(monkeypatch, error)
    with pytest.raises(StoreError, match="No space is left to write") as caught:
        catalogue.refresh(tmp_path)
    assert "--store DIR" in caught.value.remedy
    assert not [p.name for p in tmp_path.iterdir() if "catalogue" in p.name]


def test_a_store_on_a_full_disk_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(tmp_path)
    fill_the_disk(monkeypatch, FULL[0])
    assert rows(tmp_path, "SELECT count(*) FROM cells") == [(2,)]
    assert rows(tmp_path, "SELECT flips FROM pairs") == [(3,)]
    assert store_status(tmp_path)["cells"] == 2
    assert not [p.name for p in tmp_path.iterdir() if "catalogue" in p.name]


def test_a_fault_of_the_catalogue_itself_is_not_called_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(tmp_path)
    fill_the_disk(monkeypatch, duckdb.BinderException("no such column"))
    with pytest.raises(duckdb.BinderException):
        catalogue.refresh(tmp_path)


def test_what_lists_cells_says_where_they_ran(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(6, 4)
    inputs = factory.inputs(6, [0] * 6)
    keys = [
        factory.cell(inputs, [values], executor=place)
        for place, values in (("venv", x), ("docker", flip_first(x, 1)))
    ]
    factory.session(dict(zip(keys, (times(1.0), times(2.0)), strict=True)))
    factory.attempt("ab" * 32, executor="docker", device="cpu", settings={"level": "all"})
    for view in ("accuracy", "latency"):
        found = rows(tmp_path, f"FROM (FROM {view} ORDER BY executor) SELECT executor, device")
        assert found == [("docker", "cpu"), ("venv", "cpu")]
    for view in ("pairs", "flips", "time_ratios"):
        found = rows(tmp_path, f"FROM {view} SELECT executor_a, executor_b, device_a, device_b")
        assert found == [("docker", "venv", "cpu", "cpu")]
    assert rows(tmp_path, "SELECT executor, device, settings FROM failures") == [
        ("docker", "cpu", "level=all")
    ]


def test_labels_are_those_of_the_newest_sweep_that_lists_a_cell(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(6, 4)
    right = [int(c) for c in x.argmax(axis=1)]
    keys = [
        factory.cell(factory.inputs(6), [x]),
        factory.cell(factory.inputs(6), [flip_first(x, 2)], environment="b-1"),
    ]
    factory.sweep(keys, sweep_id="z", created="2026-01-01T00:00:00Z")
    assert rows(tmp_path, "FROM accuracy") == []
    labelled = factory.inputs(6, right)
    factory.sweep(keys, sweep_id="a", created="2026-01-02T00:00:00Z", inputs_key=labelled)
    assert dict(rows(tmp_path, "SELECT cell, top1 FROM accuracy")) == {  # type: ignore[arg-type]
        keys[0]: 1.0,
        keys[1]: pytest.approx(4 / 6),
    }
    assert rows(tmp_path, "SELECT DISTINCT inputs_key FROM cells") == [(labelled,)]
    found = rows(tmp_path, "SELECT DISTINCT label = class_a OR label = class_b FROM flips")
    assert found == [(True,)]
    # Another cell that was run with the labels makes a pair with those that were found finished.
    factory.cell(labelled, [x], environment="c-1")
    assert rows(tmp_path, "SELECT count(*) FROM pairs") == [(3,)]


def test_staged_folders_are_not_bundles(tmp_path: Path) -> None:
    _, a, _ = sample(tmp_path)
    (tmp_path / "answers" / a[:2] / f".{a}.abcd.staged").mkdir()
    assert rows(tmp_path, "SELECT count(*) FROM problems") == [(0,)]


def test_routes_and_what_was_asked_of_conversions_can_be_asked_for(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    asked = {"opset": 17, "quantisation": "static", "folding": False, "layout": "own"}
    inputs = factory.inputs(5)
    key = factory.cell(inputs, [logits(5, 3)], route="keras>onnx:x", converted_in="e-2", **asked)
    factory.cell(inputs, [logits(5, 3)], route="onnx")
    factory.attempt("f" * 64, route="keras>tflite", quantisation="dynamic")
    sql = "SELECT route, converted_in, opset, quantisation, folding, layout FROM cells"
    assert rows(tmp_path, f"{sql} ORDER BY route") == [
        ("keras>onnx:x", "e-2", "17", "static", "false", "own"),
        ("onnx", None, None, None, None, None),
    ]
    assert rows(tmp_path, "SELECT route, quantisation, opset FROM failures") == [
        ("keras>tflite", "dynamic", None)
    ]
    assert rows(tmp_path, "SELECT count(*) FROM pairs WHERE route_a <> route_b") == [(1,)]
    listed = {cell["key"]: cell for cell in store_status(tmp_path)["cells_listed"]}
    assert listed[key]["quantisation"] == "static"
