"""What changes nothing: the very same program, and nothing less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.levelled_sweeps import form, levelled_sweep
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis import gate
from harness.analysis.choice import choose
from harness.analysis.comparison import compare_cells
from harness.analysis.inert import form_of, is_inert
from harness.analysis.sweep_result import sweep_result
from harness.store.compiled import Compiled

A, B = Compiled("onnx", "a" * 64), Compiled("onnx", "b" * 64)
HIDDEN = Compiled(absent="it keeps it to itself")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (A, A, "same"),
        (A, B, "other"),
        (A, Compiled("tir", A.sha256), "other"),
        (A, HIDDEN, "unknown"),
        (HIDDEN, HIDDEN, "unknown"),
        (None, A, "unknown"),
    ],
)
def test_only_two_hashes_that_are_shown_can_be_the_same(
    one: Compiled | None, other: Compiled | None, expected: str
) -> None:
    assert form_of(one, other) == form_of(other, one) == expected


@pytest.mark.parametrize(
    ("told", "axes", "identical", "expected"),
    [
        ("same", ["level"], True, True),
        ("same", ["settings"], True, True),
        ("same", ["optimise"], True, True),
        ("same", ["settings"], False, False),
        ("other", ["settings"], True, False),
        ("unknown", ["settings"], True, False),
        ("same", ["settings", "threads"], True, False),
        ("same", ["environment"], True, False),
        ("same", [], True, False),
        (None, ["settings"], True, False),
    ],
)
def test_inert_takes_the_same_form_equal_answers_and_nothing_else_that_differs(
    told: Any, axes: list[str], identical: bool, expected: bool
) -> None:
    assert is_inert(told, axes, lambda: identical) is expected


def pairs_of(found: dict[str, Any]) -> dict[frozenset[str], dict[str, Any]]:
    return {frozenset((pair["a"], pair["b"])): pair for pair in found["pairs"]}


def test_no_time_of_an_inert_pair_is_a_finding_however_far_apart_it_came_out(
    tmp_path: Path,
) -> None:
    keys = levelled_sweep(tmp_path)
    pairs = pairs_of(sweep_result(tmp_path, "sweep-1"))
    inert = pairs[frozenset((keys["e-1 default"], keys["e-1 extended"]))]
    assert (inert["compiled"], inert["inert"], inert["axes"]) == ("same", True, ["level"])
    assert inert["time_ratio"] == pytest.approx(0.6, abs=0.01)
    assert inert["time_verdict"]["verdict"] == "inert"
    assert inert["time_verdict"]["smallest_visible"] is None
    assert inert["time_scenarios"]["single_stream"]["verdict"]["verdict"] == "inert"
    told = pairs[frozenset((keys["e-1 default"], keys["e-1 basic"]))]
    assert (told["compiled"], told["inert"], told["flips"]) == ("other", False, 2)
    assert told["time_verdict"]["verdict"] == "slower"


def test_the_correction_does_not_count_what_claims_nothing(tmp_path: Path) -> None:
    keys = levelled_sweep(tmp_path)
    pairs = pairs_of(sweep_result(tmp_path, "sweep-1"))
    families = {
        other: pairs[frozenset((keys["e-1 default"], keys[other]))]["time_verdict"]["family"]
        for other in ("e-1 basic", "e-1 extended", "e-2 default")
    }
    # Five others beside the reference, one of them inert.
    assert families == {"e-1 basic": 4, "e-1 extended": 0, "e-2 default": 4}


def test_levels_that_are_not_the_models_reference_are_a_family_of_their_own(tmp_path: Path) -> None:
    keys = levelled_sweep(tmp_path)
    pairs = pairs_of(sweep_result(tmp_path, "sweep-1"))
    own = pairs[frozenset((keys["e-2 default"], keys["e-2 extended"]))]
    assert own["a"] == keys["e-2 default"]
    assert (own["time_verdict"]["verdict"], own["time_verdict"]["family"]) == ("faster", 2)


def test_the_same_form_with_other_answers_is_no_inert_pair(tmp_path: Path) -> None:
    keys = levelled_sweep(tmp_path)
    pairs = pairs_of(sweep_result(tmp_path, "sweep-1"))
    pair = pairs[frozenset((keys["e-2 default"], keys["e-2 basic"]))]
    assert (pair["compiled"], pair["inert"], pair["flips"]) == ("same", False, 1)
    assert pair["identical"] is False
    assert pair["max_abs_diff"] > 0
    hidden = pairs[frozenset((keys["e-2 default"], keys["e-2 extended"]))]
    assert (hidden["compiled"], hidden["inert"], hidden["identical"]) == ("unknown", False, True)


def test_a_control_repeats_a_cell_and_is_not_inert(tmp_path: Path) -> None:
    keys = levelled_sweep(tmp_path)
    [noise] = sweep_result(tmp_path, "sweep-1")["noise"]
    assert (noise["b"], noise["compiled"], noise["inert"]) == (keys["control"], "same", False)
    assert noise["time_verdict"]["verdict"] == "no-difference"


def test_forms_of_two_models_or_backends_are_not_compared(tmp_path: Path) -> None:
    factory, x = StoreFactory(tmp_path), logits(9, 4)
    inputs = factory.inputs(9)
    keys = [
        factory.cell(inputs, [x], told=form("p")),
        factory.cell(inputs, [x], backend="other", told=form("p")),
        factory.cell(inputs, [x], model="n", told=form("p")),
    ]
    factory.sweep(keys)
    assert {pair["compiled"] for pair in sweep_result(tmp_path, "sweep-1")["pairs"]} == {None}


def test_two_levels_can_be_compared_and_a_gate_lets_inert_times_through(tmp_path: Path) -> None:
    keys = levelled_sweep(tmp_path)
    rules = [gate.parse("slower > 0"), gate.parse("flips > 0")]
    found = compare_cells(
        tmp_path, choose(tmp_path, "e-1, level extended", "e-1, level default"), rules
    )
    [pair] = found["pairs"]
    assert (pair["a"], pair["b"]) == (keys["e-1 extended"], keys["e-1 default"])
    assert (pair["inert"], pair["axes"]) == (True, ["level"])
    # As measured it takes two thirds more time.
    assert pair["time_ratio"] == pytest.approx(1.667, abs=0.02)
    assert (found["allowed"], pair["violations"]) == (True, [])
    [a, b] = found["cells"]
    assert (a["level"], b["level"]) == ("extended", "default")
    assert a["compiled"]["sha256"] == b["compiled"]["sha256"]
    assert (a["compile_peak_mib"], a["compile_cache"]) == (96.5, "cold")


def test_other_environments_are_compared_level_by_level(tmp_path: Path) -> None:
    factory, x = StoreFactory(tmp_path), logits(9, 4)
    inputs = factory.inputs(9)
    keys = {
        (environment, level): factory.cell(
            inputs, [x], environment=environment, backend=backend, level=level, settings=settings
        )
        for environment, backend in (("a-1", "null"), ("b-1", "openvino"))
        for level, settings in (("basic", {f"{backend}-x": 1}), ("default", {f"{backend}-x": 2}))
    }
    factory.sweep(list(keys.values()))
    pairs = {(a.key, b.key) for a, b in choose(tmp_path, "a-1", "b-1").pairs}
    assert pairs == {(keys["a-1", one], keys["b-1", one]) for one in ("basic", "default")}


def test_values_are_inert_only_if_every_output_is_equal(tmp_path: Path) -> None:
    factory, x = StoreFactory(tmp_path), logits(9, 4)
    inputs, told = factory.inputs(9), form("p")
    boxes = logits(9, 8, seed=1)
    moved = flip_first(boxes, 1)
    keys = [
        factory.cell(inputs, [x, boxes], settings={"n": 0}, told=told),
        factory.cell(inputs, [x, boxes], settings={"n": 1}, told=told),
        factory.cell(inputs, [x, moved], settings={"n": 2}, told=told),
    ]
    factory.sweep(keys)
    found = pairs_of(sweep_result(tmp_path, "sweep-1"))
    inert = {tuple(sorted(map(keys.index, pair))): one["inert"] for pair, one in found.items()}
    assert inert == {(0, 1): True, (0, 2): False, (1, 2): False}
