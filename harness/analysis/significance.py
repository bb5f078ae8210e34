"""The few statistics of counts: Wilson's interval and McNemar's exact test."""

from __future__ import annotations

import math

from scipy import stats


def wilson(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, without continuity correction.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    Raises:
        ValueError: total is not positive or count lies outside 0..total.
    """
    if total <= 0 or not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no proportion")
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share = count / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if count == 0 else (centre - spread) / scale
    high = 1.0 if count == total else (centre + spread) / scale
    return low, high


def mcnemar_exact(broke: int, mended: int) -> float:
    """Two-sided p-value of McNemar's exact test on the discordant counts; 1.0 when both are 0."""
    if broke + mended == 0:
        return 1.0
    return float(stats.binomtest(broke, broke + mended, 0.5).pvalue)
