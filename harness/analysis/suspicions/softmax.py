"""Probabilities where logits were said to be, and a softmax too many or too few."""

from __future__ import annotations

import numpy as np

from harness.analysis.suspicions.evidence import Evidence
from harness.analysis.suspicions.suspicion import Suspicion


def double_softmax(cell: Evidence) -> Suspicion | None:
    """Rows that are a softmax of probabilities.

    A softmax p of probabilities q has log p = q - log(sum(exp(q))): its logarithms, taken from
    the smallest, are q - min(q) and sum to 1 - C min(q), about 1. All p lie between
    1 / (e + C - 1) and e / (e + C - 1). Logits of a healthy model give a sum of hundreds.
    """
    seen = cell.summary
    if not seen.sums or cell.width < 3:
        return None
    c, total = cell.width, float(np.nanmedian(seen.spread))
    largest = float(np.nanmax(seen.confidence))
    most = np.e / (np.e + c - 1)
    if not 0.3 <= total <= 1.7 or largest > most * 1.02 or float(np.nanmax(seen.spread)) > 2:
        return None
    return Suspicion(
        "double-softmax",
        "The softmax was taken twice",
        "certain" if c >= 10 and cell.count >= 5 else "likely",
        (
            f"Every row sums to 1, but no probability passes {largest:.5f}; a softmax of "
            f"probabilities over {c} classes cannot pass e / (e + C - 1) = {most:.5f}.",
            f"The logarithms of a row, taken from its smallest, sum to {total:.3f} (median); "
            "those of probabilities that went through a softmax again sum to about 1.",
        ),
        "The model ends in a softmax already: take away the second one, or declare that its "
        "outputs are probabilities.",
        {"largest": largest, "bound": most, "log_sum": total},
    )


def kind_mismatch(cell: Evidence) -> Suspicion | None:
    """Outputs that are not of the kind that was said."""
    seen = cell.summary
    count = int(seen.finite.sum())
    if cell.kind == "logits" and seen.sums and count:
        return Suspicion(
            "probabilities-as-logits",
            "Scores called logits are probabilities",
            "certain" if count >= 2 else "likely",
            (f"All {count} rows have no negative value and sum to 1.",),
            "Declare the output as probabilities, so that no softmax is taken again.",
            {"images": count},
        )
    if cell.kind == "probabilities" and not seen.sums and count and cell.width > 1:
        values = np.asarray(cell.scores[np.flatnonzero(seen.finite)[:256]], dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        # Quantised probabilities don't sum to 1: what is below half a step is 0.
        if low >= -0.01 and high <= 1.01:
            return None
        return Suspicion(
            "missing-softmax",
            "Scores called probabilities are none",
            "certain",
            (f"Scores lie between {low:.3g} and {high:.3g}, where probabilities lie in 0 to 1.",),
            "Declare the output as logits, or take the softmax.",
            {"smallest": low, "largest": high},
        )
    return None
