"""Times in words: what is claimed, what is not, and what is INVALID."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.time_verdict import NOT_TIMED, TimeVerdict
from harness.report.times import (
    cell_validity,
    invalid_in_words,
    said,
    short,
    state,
    times_in_words,
    validity,
)

DRIFT = {"kind": "drift", "message": "it drifts by 9 %", "key": "x"}
BUSY = {"kind": "busy-machine", "message": "load 3", "key": None}


def verdict(word: str, ratio: float = 1.0, **more: Any) -> dict[str, Any]:
    return TimeVerdict(word, ratio, 0.9 * ratio, 1.1 * ratio, **more).document()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "state_", "short_", "said_"),
    [
        (verdict("faster", 0.8), "faster", "faster", "faster: takes 20 % less time"),
        (verdict("slower", 1.3), "slower", "slower", "slower: takes 30 % more time"),
        (verdict("slower", 1.023), "slower", "slower", "slower: takes 2.3 % more time"),
        (verdict("slower", 3.96), "slower", "slower", "slower: takes 4.0 times as long"),
        (
            verdict("no-difference", smallest_visible=0.021),
            "even",
            "none seen (2.1 %)",
            "no difference that this measurement can see (smallest it could: 2.1 %)",
        ),
        (
            verdict("no-difference"),
            "even",
            "none seen",
            "no difference that this measurement can see (with so few rounds it could see none)",
        ),
        (
            verdict("unknown", 1.3, valid=False, reasons=(DRIFT, BUSY)),
            "unknown",
            "INVALID",
            "INVALID: it drifts by 9 %; load 3",
        ),
        (
            verdict("unknown", 1.3, valid=False),
            *("unknown", "INVALID", "INVALID: no reason is recorded"),
        ),
        (NOT_TIMED.document(), "unknown", "\u2013", "not measured in one session"),
        (
            verdict("unknown", reasons=({"kind": "too-few-rounds", "message": "one round"},)),
            "unknown",
            "unknown",
            "one round",
        ),
    ],
)
def test_what_is_said(found: dict[str, Any], state_: str, short_: str, said_: str) -> None:
    assert (state(found), short(found), said(found)) == (state_, short_, said_)


def test_validity_names_each_kind_once() -> None:
    assert validity(True, []) == "VALID"
    assert validity(None, []) == "not judged"
    assert validity(False, [DRIFT, BUSY, DRIFT]) == "INVALID: drift, busy-machine"
    assert validity(None, [], timed=False) == "\u2013"


def scenarios(**valid: bool | None) -> dict[str, Any]:
    return {
        "scenarios": {
            name: {"valid": one, "reasons": [DRIFT, BUSY] if one is False else []}
            for name, one in valid.items()
        }
    }


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (scenarios(single_stream=True), "VALID"),
        (scenarios(single_stream=True, offline=False), "INVALID: drift, busy-machine"),
        (scenarios(single_stream=True, offline=None), "not judged"),
        (scenarios(), "\u2013"),
    ],
)
def test_a_cell_is_valid_if_all_its_scenarios_are(cell: dict[str, Any], expected: str) -> None:
    assert cell_validity(cell) == expected


def test_what_is_wrong_with_a_session_is_said_once() -> None:
    cells = [scenarios(single_stream=False), scenarios(single_stream=False, offline=False)]
    assert invalid_in_words(cells, {"x": "onnx"}) == [
        "onnx: drift: it drifts by 9 %",
        "the whole session: busy-machine: load 3",
        "onnx, offline: drift: it drifts by 9 %",
        "the whole session, offline: busy-machine: load 3",
    ]


def test_a_reference_that_is_invalid_in_one_session_alone_is_said_of_the_pairs_of_that_one() -> (
    None
):
    cells = [scenarios(single_stream=True)]
    drift = {"key": "x", "kind": "drift", "message": "it drifts by 9 %"}
    pairs = [
        {"time_verdict": {"valid": valid, "reasons": [drift] if valid is False else []}}
        for valid in (True, False, False, None)
    ]
    assert invalid_in_words(cells, {"x": "onnx"}, pairs) == ["onnx: drift: it drifts by 9 %"]


def pair(b: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"a": "a", "b": b, "time_ratio": found["ratio"], "time_verdict": found}


def test_a_sentence_names_what_may_be_claimed_and_what_is_invalid() -> None:
    pairs = [
        pair("x", verdict("faster", 0.5)),
        pair("y", verdict("no-difference", 1.01, smallest_visible=0.02)),
        pair("z", verdict("slower", 4)),
        pair("w", verdict("unknown", 2, valid=False)),
        pair("v", NOT_TIMED.document()),
    ]
    names = {"x": "new", "y": "same", "z": "old", "w": "bad", "v": "other"}
    assert times_in_words(pairs, names) == (
        "Faster: new (0.50\u00d7). Slower: old (4.00\u00d7). "
        "Times INVALID, so nothing is said of them: bad."
    )
    assert times_in_words(pairs[1:2], names) == ""
