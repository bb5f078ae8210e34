"""Scales of the small charts."""

from __future__ import annotations

import itertools

import pytest

from harness.report.charts import heat, ratio_scale, share_scale


@pytest.mark.parametrize("values", [[], [1.0], [0.48, 2.71], [0.99, 1.01], [0.001, 300.0], [None]])
def test_a_ratio_scale_holds_its_values_and_one(values: list[float | None]) -> None:
    scale = ratio_scale(values)
    assert all(0 < scale.at(v) < 100 for v in [*values, 1.0] if v is not None)
    texts = [tick.text for tick in scale.ticks]
    assert "1\u00d7" in texts
    places = [tick.at for tick in scale.ticks]
    assert all(b - a >= 17 for a, b in itertools.pairwise(places))


def test_equal_factors_are_equal_distances() -> None:
    scale = ratio_scale([0.25, 4.0])
    assert scale.at(2) - scale.at(1) == pytest.approx(scale.at(1) - scale.at(0.5), abs=0.02)


def test_shares_start_at_zero() -> None:
    scale = share_scale([0.0, 0.25, None])
    assert (scale.at(0), scale.at(0.25)) == (0, 100)
    assert share_scale([]).at(0) == 0


def test_heat_is_zero_only_for_no_difference() -> None:
    assert (heat(0.0, 0.3), heat(None, 0.3), heat(0.3, 0.3)) == (0, 0, 100)
    assert heat(1e-6, 0.3) >= 8
