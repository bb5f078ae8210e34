"""Times as DeltaNN (arXiv 2306.06208) gives them, for comparison with its numbers alone. Pure.

Nothing is claimed from these: single queries follow each other too closely to be independent, so
tests over them find differences in nothing. What may be said is in `time_verdict.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from harness.analysis.timing import Floats

# Vargha and Delaney 2000, table 1: beyond 0.5 on either side.
_SIZES = ((0.21, "large"), (0.14, "medium"), (0.06, "small"))


def parity(a: Floats, b: Floats) -> dict[str, Any]:
    """The original's measures between two cells of one session.

    Args:
        a: times of the reference, nanoseconds an image, float64 [M].
        b: times of the other, float64 [K].

    Returns:
        A JSON object: `percentages` (each `value`, its `denominator` and the `formula`: the
        original's code divides by the reference, the 81 % of its headline by the slower side),
        `mann_whitney_p` (two-sided, without exact ties), `a12` (Vargha and Delaney: how probable
        it is that a query of b takes longer than one of a, ties counting half) and its `a12_size`,
        `anova_f` and `anova_p` (one-way, over both), `samples_a`, `samples_b`. What has no value,
        because nothing varies, is None.
    """
    mean_a, mean_b = float(a.mean()), float(b.mean())
    slower = "b" if mean_b >= mean_a else "a"
    change = 100 * (mean_b - mean_a)
    a12, p = _mann_whitney(a, b)
    f, anova_p = anova([a, b])
    return {
        "percentages": [
            {
                "value": change / mean_a,
                "denominator": "the reference's mean time",
                "formula": "100 * (t_b - t_a) / t_a",
            },
            {
                "value": change / max(mean_a, mean_b),
                "denominator": "the slower one's mean time",
                "formula": f"100 * (t_b - t_a) / t_{slower}",
            },
        ],
        "mann_whitney_p": p,
        "a12": a12,
        "a12_size": _size(a12),
        "anova_f": f,
        "anova_p": anova_p,
        "samples_a": len(a),
        "samples_b": len(b),
    }


def _mann_whitney(a: Floats, b: Floats) -> tuple[float, float]:
    """A12 = U_b / (m n) (Vargha and Delaney 2000, equation 14), and the p-value of U."""
    found = stats.mannwhitneyu(b, a, alternative="two-sided", method="asymptotic")
    a12 = float(found.statistic) / (len(a) * len(b))
    # All values equal: the statistic has no spread, and nothing differs.
    p = float(found.pvalue)
    return a12, p if np.isfinite(p) else 1.0


def _size(a12: float) -> str:
    beyond = abs(a12 - 0.5)
    return next((name for least, name in _SIZES if beyond >= least), "negligible")


def anova(groups: list[Floats]) -> tuple[float | None, float | None]:
    """F and p of a one-way analysis of variance; None where nothing varies inside the groups."""
    if len(groups) < 2 or all(np.ptp(group) == 0 for group in groups):
        return None, None
    found = stats.f_oneway(*groups)
    values = float(found.statistic), float(found.pvalue)
    return values if np.isfinite(values).all() else (None, None)
