"""Levels and settings side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.levelled_sweeps import form, levelled_sweep
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.levels import group_levels
from harness.analysis.sweep_result import sweep_result


def cell(key: str, **columns: Any) -> dict[str, Any]:
    base = {"key": key, "model": "m", "environment": "e", "backend": "b", "settings": {}}
    return {**base, "device": "cpu", "threads": 1, "batch": 1, **columns}


def test_cells_that_differ_in_level_or_settings_alone_are_a_group_by_level() -> None:
    cells = [
        cell("d", level="extended", settings={"x": 2}),
        cell("c", level="basic", settings={"x": 0}),
        cell("own", settings={"y": 1}),
        cell("b", level="default"),
        cell("alone", environment="f", level="default"),
        cell("threads", threads=2, level="default"),
    ]
    [group] = group_levels(cells, {one["key"] for one in cells}, {"alone"})
    assert group.keys == ("c", "b", "d", "own")
    assert group.reference == "b"


@pytest.mark.parametrize(
    ("answered", "leading", "expected"),
    [
        ({"basic", "default", "own"}, {"basic"}, "basic"),
        ({"basic", "default", "own"}, set(), "default"),
        ({"basic", "own"}, set(), "basic"),
        ({"own"}, set(), "own"),
        (set(), set(), None),
    ],
)
def test_the_reference_is_the_models_own_else_default_else_the_first_with_answers(
    answered: set[str], leading: set[str], expected: str | None
) -> None:
    cells = [cell(name, level=name, settings={"x": name}) for name in ("own", "default", "basic")]
    [group] = group_levels(cells, answered, leading)
    assert group.reference == expected


def test_each_level_says_what_it_changes_and_at_what_cost(tmp_path: Path) -> None:
    keys = levelled_sweep(tmp_path)
    found = sweep_result(tmp_path, "sweep-1")
    json.dumps(found)
    first, second = found["levels"]
    assert (first["environment"], first["reference"]) == ("e-1", keys["e-1 default"])
    assert first["repeatable"] is True
    assert second["repeatable"] is None
    rows = {row["key"]: row for group in (first, second) for row in group["rows"]}
    effects = {name: rows[key]["effect"] for name, key in keys.items() if key in rows}
    assert effects == {
        "e-1 basic": "changes",
        "e-1 default": "reference",
        "e-1 extended": "inert",
        "e-2 basic": "same-form",
        "e-2 default": "reference",
        "e-2 extended": "unknown",
    }
    basic, extended = rows[keys["e-1 basic"]], rows[keys["e-1 extended"]]
    assert (basic["flips"], basic["images"], basic["level"]) == (2, 40, "basic")
    assert basic["compiled"]["operators"]["BatchNormalization"] == 10
    assert (basic["compile_peak_mib"], basic["compile_cache"]) == (96.5, "cold")
    assert basic["time_verdict"]["verdict"] == "slower"
    assert extended["same_as"] == [keys["e-1 default"]]
    assert rows[keys["e-1 default"]]["same_as"] == [keys["e-1 extended"]]
    assert rows[keys["e-2 extended"]]["compiled"] == {"absent": "it keeps it to itself"}


def test_a_level_that_failed_is_listed_with_what_became_of_it(tmp_path: Path) -> None:
    factory, x = StoreFactory(tmp_path), logits(9, 4)
    inputs = factory.inputs(9)
    done = factory.cell(inputs, [x], backend="null", level="default", told=form("p"))
    failed = {**factory.cells[done], "key": "f" * 64, "level": "basic", "settings": {"offset": 1}}
    factory.sweep(
        [done],
        failed=[failed],
        failures=[{"key": "f" * 64, "kind": "signal", "message": "crashed"}],
    )
    [group] = sweep_result(tmp_path, "sweep-1")["levels"]
    rows = {row["key"]: row for row in group["rows"]}
    assert (rows["f" * 64]["effect"], rows["f" * 64]["kind"]) == ("failed", "signal")
    assert group["reference"] == done


def test_where_the_same_cell_compiles_to_two_forms_another_form_proves_nothing(
    tmp_path: Path,
) -> None:
    factory, x = StoreFactory(tmp_path), logits(9, 4)
    inputs = factory.inputs(9)
    keys = [
        factory.cell(inputs, [x], settings={"n": 0}, told=form("p")),
        factory.cell(inputs, [flip_first(x, 1)], settings={"n": 1}, told=form("q")),
        factory.cell(
            inputs, [x], settings={"n": 0}, role="control", repeat=1, told=form("by chance")
        ),
    ]
    factory.sweep(keys)
    [group] = sweep_result(tmp_path, "sweep-1")["levels"]
    assert group["repeatable"] is False
    assert [row["effect"] for row in group["rows"]] == ["reference", "unstable"]


def test_settings_of_old_stores_whose_forms_nobody_asked_for_are_no_levels(tmp_path: Path) -> None:
    factory, x = StoreFactory(tmp_path), logits(9, 4)
    inputs = factory.inputs(9)
    factory.sweep([factory.cell(inputs, [x], settings={"n": n}) for n in range(2)])
    assert sweep_result(tmp_path, "sweep-1")["levels"] == []
