"""Names of ONNX Runtime's optimizers: proved by what a made-up library runs, and turned off."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from types import SimpleNamespace

import pytest

from runner.errors import RunnerError
from runner.support import onnxruntime_passes as passes

NEEDED = "MemcpyTransformer"
GROUP = "Level1_RuleBasedTransformer"


def library(rules: Collection[str], *transformers: str) -> Callable[[Sequence[str]], list[str]]:
    """What runs where some names are disabled: a rule only shows by the transformer that holds it."""

    def names(disabled: Sequence[str]) -> list[str]:
        group = [GROUP] if set(rules) - set(disabled) else []
        return [*group, *(t for t in transformers if t not in disabled), NEEDED]

    return names


def test_a_rule_is_one_that_alone_brings_its_transformer_back() -> None:
    names = library(["ConvBNFusion", "EliminateIdentity"], "ConstantFolding", "NchwcTransformer")
    found = passes.optional(names)
    assert found == ("EliminateIdentity", "ConvBNFusion", "ConstantFolding", "NchwcTransformer")
    assert NEEDED not in found, "it runs though it was disabled, so it is needed"


def test_rules_that_have_no_name_here_are_turned_off_together() -> None:
    found = passes.optional(library(["ConvBNFusion", "RuleOfTomorrow"], "ConstantFolding"))
    assert found == (GROUP, "ConstantFolding")


def test_the_log_says_which_ran_and_which_changed_the_graph() -> None:
    line = "[V:onnxruntime:, graph_transformer.cc:15 Apply] GraphTransformer {} modified: {} with status: OK\n"
    told = [("A", 0), ("B", 1), ("A", 1), ("B", 1), ("C", 0)]
    log = "something else\n" + "".join(line.format(*one) for one in told)
    assert passes.ran(log) == [(name, changed == 1) for name, changed in told]
    assert passes.that_changed(log) == ("B", "A")


def test_what_a_library_writes_is_caught_and_standard_error_is_back_after(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert passes.logged(lambda: os.write(2, b"from C++")) == "from C++"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_what_a_refused_session_wrote_is_handed_on(capfd: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        os.write(2, b"the reason\n")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        passes.logged(refused)
    os.write(2, b"after")
    assert capfd.readouterr().err == "the reason\nafter"


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A library with three optimizers, the last of which runs at the highest level alone."""
    monkeypatch.setattr(passes, "of_this_build", lambda _: ("A", "B", "Last"))
    monkeypatch.setattr(
        passes,
        "at_level",
        lambda _, level: frozenset("AB" if level == "basic" else ("A", "B", "Last")),
    )
    return SimpleNamespace()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ()),
        ({"disabled_passes": ("Last", "A")}, ("Last", "A")),
        ({"disabled_passes": ()}, ()),
        ({"passes": ("B",)}, ("A", "Last")),
        ({"passes": ()}, ("A", "B", "Last")),
    ],
)
def test_only_these_and_all_but_these_turn_off_the_rest(
    ort: SimpleNamespace, asked: dict[str, tuple[str, ...]], expected: tuple[str, ...]
) -> None:
    settings = {"disabled_passes": None, "passes": None, "graph_optimization_level": "all", **asked}
    assert passes.turned_off(ort, settings, "all") == expected


def test_both_lists_and_a_pass_that_the_level_keeps_off_are_refused(ort: SimpleNamespace) -> None:
    settings = {"graph_optimization_level": "basic", "passes": ("Last",)}
    with pytest.raises(
        RunnerError, match="names Last, which does not run at the graph_opt"
    ) as told:
        passes.turned_off(ort, settings, "basic")
    assert told.value.kind == "unsupported"
    both = {"passes": (), "disabled_passes": ()}
    with pytest.raises(RunnerError, match="give one of the two"):
        passes.turned_off(ort, both, "all")
