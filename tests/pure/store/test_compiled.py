"""What models were compiled to: read from bundles, and in the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.levelled_sweeps import form, levelled_sweep
from support.store_factory import StoreFactory, logits

from harness.analysis.store_status import store_status
from harness.analysis.sweep_result import sweep_result
from harness.store.compiled import compile_costs, compiled_of, given_settings
from harness.store.query import run_query

WHOLE = form("p", {"Conv": 3, "Relu": 2})["compiled"]


def test_a_form_is_read_back_as_it_was_told() -> None:
    found = compiled_of({"compiled": WHOLE})
    assert found is not None
    assert found.document() == WHOLE
    assert (found.count, found.absent) == (5, "")


@pytest.mark.parametrize(
    ("told", "absent"),
    [
        ({"absent": "no such thing"}, "no such thing"),
        ({}, "not shown by its library"),
        ("a text", "not shown by its library"),
        ({**WHOLE, "sha256": "short"}, "not shown by its library"),
        ({**WHOLE, "sha256": None, "absent": 3}, "not shown by its library"),
    ],
)
def test_what_is_no_form_counts_as_absent(told: Any, absent: str) -> None:
    found = compiled_of({"compiled": told})
    assert found is not None
    assert (found.absent, found.document()) == (absent, {"absent": absent})


def test_what_an_environment_makes_up_is_left_out() -> None:
    odd = {**WHOLE, "operators": {"A": -1, "B": "x", "C": True, "D": 2}, "code_bytes": "big"}
    found = compiled_of({"compiled": {**odd, "passes": "all"}})
    assert found is not None
    assert (dict(found.operators), found.passes, found.code_bytes) == ({"D": 2}, None, None)
    assert compiled_of({}) is None
    nothing = {"compile_peak_mib": None, "compile_cache": None}
    assert compile_costs({"compile_peak_mib": "much", "compile_cache": "tepid"}) == nothing


def test_a_levels_settings_are_told_apart_from_those_that_were_given() -> None:
    cell = {"backend": "null", "level": "basic", "settings": {"offset": 1, "sleep": 2}}
    assert given_settings(cell) == {"sleep": 2}
    assert given_settings({**cell, "level": "own"}) == cell["settings"]
    assert given_settings({"backend": "null", "settings": {"offset": 1}}) == {"offset": 1}


def test_the_catalogue_holds_levels_forms_operators_passes_and_costs(tmp_path: Path) -> None:
    keys = levelled_sweep(tmp_path)

    def rows(columns: str, table: str, key: str = keys["e-1 basic"]) -> list[Any]:
        """Rows of one cell, without its key."""
        found = run_query(tmp_path, f"SELECT key, {columns} FROM {table}").rows  # noqa: S608
        return [row[1:] for row in found if row[0] == key]

    columns = "level, settings, compiled_form, operator_count, code_bytes, compile_peak_mib"
    expected = [("basic", "offset=1", "onnx", 28, 4096, 96.5, "cold")]
    assert rows(f"{columns}, compile_cache", "cells") == expected
    hidden = rows("compiled_sha256, compiled_absent", "cells", keys["e-2 extended"])
    assert hidden == [(None, "it keeps it to itself")]
    counted = [("BatchNormalization", 10), ("Conv", 10), ("Relu", 8)]
    assert sorted(rows("kind, number", "operators")) == counted
    assert sorted(rows("place, name", "passes")) == [(0, "FuseConv"), (1, "FoldConstants")]
    listed = {cell["key"]: cell["level"] for cell in store_status(tmp_path)["cells_listed"]}
    assert listed[keys["e-1 basic"]] == "basic"


def test_pairs_of_the_catalogue_are_as_inert_as_those_of_the_analysis(tmp_path: Path) -> None:
    levelled_sweep(tmp_path)
    found = sweep_result(tmp_path, "sweep-1")
    expected = {
        frozenset((p["a"], p["b"])): (
            {"same": True, "other": False}.get(p["compiled"]),
            p["inert"],
        )
        for p in (*found["pairs"], *found["noise"])
    }
    rows = run_query(tmp_path, "SELECT a, b, same_form, inert FROM pairs").rows
    listed = {frozenset((str(a), str(b))): (same, inert) for a, b, same, inert in rows}
    assert {pair: listed[pair] for pair in expected} == expected
    assert sum(inert for _, inert in expected.values()) == 1


def test_a_level_is_what_the_newest_sweep_calls_the_cell(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(5), [logits(5, 4)], backend="null")
    factory.sweep([key], sweep_id="s-1")
    assert run_query(tmp_path, "SELECT level FROM cells").rows == [("own",)]
    factory.cells[key]["level"] = "default"
    factory.sweep([key], sweep_id="s-2", created="2026-01-02T00:00:00Z")
    assert run_query(tmp_path, "SELECT level FROM cells").rows == [("default",)]
    assert sweep_result(tmp_path, "s-2")["cells"][0]["level"] == "default"
