"""Settings that are lists of names, free values and environment variables: taken or refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.backends.base import LoadRequest, Offer
from runner.errors import RunnerError
from runner.given_settings import check_kept, split_variables

PASSES = (*(f"Pass{number}" for number in range(20)), "FuseOps", "FuseTIR")
OFFER = Offer(
    "toy",
    ("onnx",),
    settings={"fast": (True, False)},
    names={"disabled_passes": PASSES, "passes": PASSES},
    free={"trials": "integer", "mcpu": "text", "flags": "flags", "only": "names"},
)
REQUEST = LoadRequest("m.onnx", "onnx", {}, "f32", "cpu", threads=1, batch=1, item_shape=(3,))


def accepted(**settings: Any) -> dict[str, Any]:
    return OFFER.accept(replace(REQUEST, settings=settings))


def test_what_is_not_given_is_none_and_what_is_free_is_absent() -> None:
    assert accepted() == {"fast": True, "disabled_passes": None, "passes": None}


def test_an_empty_list_is_another_thing_than_none_and_the_order_is_kept() -> None:
    found = accepted(passes=[], disabled_passes=["FuseTIR", "Pass3"])
    assert (found["passes"], found["disabled_passes"]) == ((), ("FuseTIR", "Pass3"))


def test_free_values_are_taken_as_they_are() -> None:
    found = accepted(trials=64, mcpu="znver4", flags={"a.b": 1, "c": "x", "d": True}, only=["q"])
    assert found["trials"] == 64
    assert found["mcpu"] == "znver4"
    assert found["flags"] == {"a.b": 1, "c": "x", "d": True}
    assert found["only"] == ("q",)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"disabled_passes": ["FuseOp"]},
            r"disabled_passes has no 'FuseOp'; did you mean FuseOps.*\? it knows 22, such as Pass0",
        ),
        ({"passes": ["FuseOps", "FuseOps"]}, "passes names 'FuseOps' twice"),
        ({"passes": "FuseOps"}, r"'FuseOps' \(it supports: a list of names, \[\] for none\)"),
        ({"passes": [3]}, "a list of names"),
        ({"trials": True}, "True .*a whole number"),
        ({"trials": 2.0}, "2.0 .*a whole number"),
        ({"mcpu": 4}, "4 .*a text"),
        ({"flags": {"a": [1]}}, "a mapping of names to texts, numbers or true and false"),
        ({"flags": {"a": float("nan")}}, "a mapping of names"),
        ({"only": ["q", "q"]}, "only names 'q' twice"),
        ({"pass": []}, r"setting 'pass' \(it supports: fast, disabled_passes, passes, trials"),
    ],
)
def test_other_values_are_refused_with_what_there_is(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        accepted(**settings)
    assert caught.value.kind == "unsupported"


def test_a_version_without_any_pass_says_so() -> None:
    bare = Offer("toy", ("onnx",), names={"passes": ()})
    with pytest.raises(RunnerError, match="passes has no 'FuseOps'; this version has none"):
        bare.accept(replace(REQUEST, settings={"passes": ["FuseOps"]}))


def test_the_offer_document_holds_all_three_kinds() -> None:
    document = OFFER.as_document()
    assert document["settings"] == {"fast": [True, False]}
    assert document["names"]["passes"] == list(PASSES)
    assert document["free"] == {
        "trials": "integer",
        "mcpu": "text",
        "flags": "flags",
        "only": "names",
    }


def test_variables_that_the_process_has_are_taken_out_of_the_settings() -> None:
    own, variables = split_variables(
        {"fast": True, "variables": {"TF_ENABLE_ONEDNN_OPTS": "0"}}, {"TF_ENABLE_ONEDNN_OPTS": "0"}
    )
    assert (own, variables) == ({"fast": True}, {"TF_ENABLE_ONEDNN_OPTS": "0"})
    assert split_variables({"fast": True}, {}) == ({"fast": True}, {})


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"LD_PRELOAD": "x.so"}, "LD_PRELOAD says where a worker finds its parts"),
        ({"PYTHONPATH": "."}, "PYTHONPATH says where"),
        ({"PATH": "/"}, "PATH says where"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES says where"),
        ({"lower": "1"}, "'lower' is no name"),
        ({"A;B": "1"}, "'A;B' is no name"),
        ({"A": 1}, "A is 1 and must be a text"),
        ({"A": "x\0"}, "must be a text"),
        (["A=1"], "a mapping of NAME to text"),
        ({"OMP_NUM_THREADS": "8"}, "OMP_NUM_THREADS was to be '8' and is '1' in the process"),
        ({"ABSENT": "8"}, "ABSENT was to be '8' and is None"),
    ],
)
def test_variables_that_cannot_be_set_or_were_not_are_refused(variables: Any, words: str) -> None:
    present = {"OMP_NUM_THREADS": "1", "A": "1"}
    with pytest.raises(RunnerError, match=words) as caught:
        split_variables({"variables": variables}, present)
    assert caught.value.kind == "unsupported"


def test_a_variable_that_a_backend_sets_itself_is_refused_and_one_it_adds_to_is_not() -> None:
    check_kept({"A": "1", "XLA_FLAGS": "--x=1"}, {"A": "1", "XLA_FLAGS": "--x=1 --dump=/d"})
    for asked, now in (({"A": "1"}, {"A": "2"}), ({"A": "1"}, {}), ({"XLA_FLAGS": "--x=1"}, {})):
        with pytest.raises(RunnerError, match="the backend itself makes it"):
            check_kept(asked, now)
