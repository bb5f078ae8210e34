"""Optimisation levels: one table, crossed with the other axes, and told apart by their settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import levels_table

from harness.analysis.pairing import axes
from harness.errors import SpecError
from harness.plan import levels
from harness.plan.build import Plan, build_plan
from harness.plan.cells import Cell
from harness.plan.feeds import USUAL, CellInputs, Feeds
from harness.plan.groups import make_groups
from harness.plan.levels import LEVELS, NAMED, level_settings
from harness.plan.parts import DeviceHere, Place, Stack, Subject
from harness.plan.proof import wants_forms
from harness.spec.load import check_spec
from harness.spec.models import EnvironmentEntry, SweepSpec
from runner import backends

INPUTS = CellInputs("pixels", "inputs", "pixels", {"channels": "rgb"}, "NCHW", raw_quantised=False)
SUBJECT = Subject("m", Path("m.onnx"), "onnx", "sha-m", 0, "auto", Feeds({USUAL: INPUTS}))
TABLE: dict[str, dict[str, Any]] = {
    "toy": {
        "basic": {"passes": []},
        "default": {},
        "extended": {"fast": True},
        "tuned": "it has no tuner",
    }
}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of one backend with every kind of entry."""
    for name in list(LEVELS):
        monkeypatch.delitem(LEVELS, name)
    for name, rows in TABLE.items():
        monkeypatch.setitem(LEVELS, name, rows)


def stack(name: str = "a", **entry: Any) -> Stack:
    return Stack(
        EnvironmentEntry(name=name, **entry),
        name, "toy", "1", f"identity-{name}", {"toy": ("onnx",)}, {}, "venv",
    )  # fmt: skip


def spec(**changes: Any) -> SweepSpec:
    document = {
        "models": [{"path": "m.onnx", "recipe": "tf"}],
        "data": {"path": "images"},
        "environments": ["a"],
    }
    return check_spec({**document, **changes}, "test")


def plan(*stacks: Stack, **changes: Any) -> Plan:
    place = Place("runner", {"cpu": DeviceHere("cpu", "A CPU")})
    return build_plan(spec(**changes), [SUBJECT], stacks or [stack()], place)


def seen(cells: tuple[Cell, ...]) -> list[tuple[str, dict[str, Any]]]:
    return [(cell.level, dict(cell.settings)) for cell in cells]


def test_every_backend_says_of_every_level_what_it_is_or_why_not() -> None:
    assert set(LEVELS) == set(backends.names())
    for backend, rows in LEVELS.items():
        assert tuple(rows) == NAMED, backend
        for level, found in rows.items():
            if isinstance(found, str):
                assert len(found) > 10, (backend, level)
                assert not found.endswith("."), (backend, level)


def test_no_two_levels_of_a_backend_say_the_same_settings() -> None:
    for backend, rows in LEVELS.items():
        found = [dict(row) for row in rows.values() if not isinstance(row, str)]
        assert all(found.count(row) == 1 for row in found), backend


def test_a_level_is_a_cell_with_its_settings_and_its_name(toy: None) -> None:
    cells = plan(axes={"level": ["basic", "default", "extended"]}).cells
    assert seen(cells) == [("basic", {"passes": []}), ("default", {}), ("extended", {"fast": True})]
    assert [cell.label for cell in cells] == [
        "m · a · toy (basic)",
        "m · a · toy (default)",
        "m · a · toy (extended)",
    ]
    assert [cell.record()["level"] for cell in cells] == ["basic", "default", "extended"]
    assert len({cell.key for cell in cells}) == 3


def test_without_a_level_a_cell_is_what_it_was_before(toy: None) -> None:
    [bare] = plan().cells
    [named] = plan(axes={"level": ["default"]}).cells
    assert (bare.level, named.level) == ("own", "default")
    assert bare.key == named.key
    assert "level" not in bare.identity
    assert bare.label == "m · a · toy"


def test_settings_stand_beside_a_level_and_the_label_shows_those_alone(toy: None) -> None:
    [cell] = plan(stack(settings=[{"threads_hint": 3}]), axes={"level": ["extended"]}).cells
    assert dict(cell.settings) == {"fast": True, "threads_hint": 3}
    assert cell.label == "m · a · toy (extended, threads_hint=3)"


def test_settings_of_the_axes_are_those_of_every_environment_without_its_own(toy: None) -> None:
    cells = plan(
        stack("a"), stack("b", settings=[{"x": 2}]),
        environments=["a", "b"], axes={"settings": [{"x": 1}, {}]},
    ).cells  # fmt: skip
    assert [(c.environment, dict(c.settings)) for c in cells] == [
        ("a", {"x": 1}),
        ("a", {}),
        ("b", {"x": 2}),
    ]


def test_a_setting_that_the_level_says_itself_is_a_combination_that_is_skipped(toy: None) -> None:
    found = plan(
        axes={"level": ["default", "extended"], "settings": [{"fast": False}]},
    )
    assert seen(found.cells) == [("default", {"fast": False})]
    [skipped] = found.skipped
    assert skipped.backend == "toy"
    assert "the level extended of toy says fast=True itself" in skipped.reason


def test_a_level_that_a_backend_does_not_have_is_skipped_with_the_reason(toy: None) -> None:
    found = plan(axes={"level": ["default", "tuned"]})
    assert seen(found.cells) == [("default", {})]
    assert [s.reason for s in found.skipped] == ["toy has no level tuned: it has no tuner"]
    with pytest.raises(SpecError, match="toy has no level tuned: it has no tuner"):
        plan(axes={"level": ["tuned"]})
    assert level_settings("unheard", "basic", {}) == (
        "unheard has no level basic: nobody has said which settings it stands for (docs/levels.md)"
    )


def test_the_same_settings_under_two_names_are_one_cell_by_the_name_of_the_level(toy: None) -> None:
    for order in (["own", "default"], ["default", "own"]):
        found = plan(axes={"level": order})
        assert seen(found.cells) == [("default", {})]
        assert [s.reason for s in found.skipped] == [
            "level own is the same as level default: the same settings"
        ]


def test_an_environment_may_have_levels_of_its_own(toy: None) -> None:
    cells = plan(
        stack("a", level=["basic"]), stack("b"), environments=["a", "b"],
        axes={"level": ["default"]},
    ).cells  # fmt: skip
    assert [(c.environment, c.level) for c in cells] == [("a", "basic"), ("b", "default")]


def test_two_levels_are_a_controlled_pair(toy: None) -> None:
    basic, extended = plan(axes={"level": ["basic", "extended"]}).cells
    assert axes(basic.record(), extended.record()) == ["level"]


def test_an_unknown_level_is_refused_with_those_there_are() -> None:
    with pytest.raises(SpecError, match=r"axes\.level\[0\].*'own', 'basic', 'default'"):
        spec(axes={"level": ["max"]})


def test_variables_that_cannot_be_set_are_refused_with_their_place() -> None:
    with pytest.raises(SpecError, match=r"axes\.settings\[0\]: the variable LD_PRELOAD"):
        spec(axes={"settings": [{"variables": {"LD_PRELOAD": "x"}}]})
    with pytest.raises(SpecError, match="must be a text"):
        spec(environments=[{"name": "a", "settings": [{"variables": {"N": 1}}]}])


def test_the_reference_is_what_one_gets_unasked(toy: None) -> None:
    cells = plan(stack("a"), stack("b"), environments=["a", "b"],
                 axes={"level": ["basic", "default"]}).cells  # fmt: skip
    [group] = make_groups(cells, baseline="b", timed=True, control=True)
    reference = group.cells[0]
    assert (reference.environment, reference.level) == ("b", "default")


def test_levels_of_one_compiler_are_timed_in_one_session(toy: None) -> None:
    stacks = [stack(name) for name in "abcd"]
    cells = plan(*stacks, environments=list("abcd"),
                 axes={"level": ["basic", "default", "extended"]}).cells  # fmt: skip
    groups = make_groups(cells, baseline="a", timed=True, control=True, at_once=8)
    parts = [[c.environment for c in group.cells[2:]] for group in groups]
    assert parts == [["a", "a", *"bbb"], ["c"] * 3 + ["d"] * 3]


def test_more_settings_than_a_session_holds_are_divided(toy: None) -> None:
    points = [{"x": number} for number in range(9)]
    cells = plan(axes={"settings": points}).cells
    groups = make_groups(cells, baseline=None, timed=True, control=True, at_once=5)
    assert [len(group.cells) for group in groups] == [5, 5, 4]
    others = [c.settings["x"] for group in groups for c in group.cells[2:]]
    assert others == list(range(1, 9))


def test_fingerprints_are_wanted_where_a_backend_has_several_settings_or_on_demand(
    toy: None,
) -> None:
    one = plan().cells
    several = plan(axes={"level": ["basic", "default"]}).cells
    assert not wants_forms(spec(), one)
    assert wants_forms(spec(), several)
    assert wants_forms(spec(fingerprint=True), one)
    assert not wants_forms(spec(fingerprint=False), several)


def test_long_lists_of_names_are_counted_in_a_label(toy: None) -> None:
    names = [f"Pass{number}" for number in range(5)]
    cells = plan(axes={"settings": [{"passes": names}, {"passes": names[:2]}, {"only": []}]}).cells
    assert [cell.label for cell in cells] == [
        "m · a · toy (passes=5 names)",
        "m · a · toy (passes=Pass0+Pass1)",
        "m · a · toy (only=none)",
    ]


def test_the_settings_of_own_are_none() -> None:
    assert levels.settings_of("onnxruntime", "own") == {}


def test_the_page_shows_the_table_as_it_is() -> None:
    assert levels_table.written() == levels_table.table(), (
        "run: PYTHONPATH=. python tests/support/levels_table.py"
    )
