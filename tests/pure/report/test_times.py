"""No claim about time below the noise floor."""

from __future__ import annotations

import math

import pytest

from harness.report.times import noise_floor, time_state, times_in_words


def pair(ratio: float, low: float | None, high: float | None, b: str = "b") -> dict[str, object]:
    return {"a": "a", "b": b, "time_ratio": ratio, "time_low": low, "time_high": high}


def test_the_floor_is_the_farther_end_of_the_controls_interval() -> None:
    assert noise_floor([pair(1.02, 0.95, 1.10)]) == pytest.approx(math.log(1.10))
    assert noise_floor([pair(0.9, None, None)]) == pytest.approx(-math.log(0.9))
    assert noise_floor([]) == 0.0


@pytest.mark.parametrize(
    ("ratio", "low", "high", "floor", "state", "said"),
    [
        (0.8, 0.7, 0.9, 0.0, "faster", "takes 20 % less time"),
        (0.8, 0.7, 0.9, 0.3, "even", "within the noise floor"),
        (1.3, 1.2, 1.4, 0.1, "slower", "takes 30 % more time"),
        (3.96, 3.4, 4.6, 0.3, "slower", "takes 4.0 times as long"),
        (1.05, 0.98, 1.12, 0.0, "even", "no difference shown"),
        (5.0, None, None, 0.0, "even", "one round only: no interval"),
    ],
)
def test_what_is_said(
    ratio: float, low: float, high: float, floor: float, state: str, said: str
) -> None:
    assert time_state(pair(ratio, low, high), floor) == (state, said)


def test_a_sentence_names_only_what_may_be_claimed() -> None:
    pairs = [pair(0.5, 0.4, 0.6, "x"), pair(1.01, 0.9, 1.1, "y"), pair(4, 3, 5, "z")]
    names = {"x": "new", "y": "same", "z": "old"}
    assert (
        times_in_words(pairs, 0.1, names) == "Faster: new (0.50\u00d7). Slower: old (4.00\u00d7)."
    )
