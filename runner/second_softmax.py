"""A softmax too many, put on the answers of a whole file: a mistake made on purpose.

What is a softmax already gets one more, and what is not gets two. Which it is, all rows together
decide and never a batch of them, so that the same answers come out whatever the batch was.
"""

from __future__ import annotations

from typing import Callable, Iterator, Tuple

import numpy as np

from runner.backends.base import TensorSpec
from runner.errors import RunnerError

# Rows of probabilities add up to one; a bf16 softmax over a thousand classes is this close.
_SUM_TOLERANCE = 1e-2
_STEP_TOLERANCE = 1e-3
# Of an 8-bit softmax: its steps (TFLite fixes them), and how far rounding up can carry a sum.
_SOFTMAX_LEVELS = 256
_QUANTISED_EXCESS = 0.05


def check_scores(rows: np.ndarray, spec: TensorSpec) -> None:
    """Refuse an output that holds no class scores, one row [C] (or [C, 1, ...]) an input.

    Raises:
        RunnerError: kind `unsupported`.
    """
    one_axis = rows.ndim >= 2 and rows.shape[1] > 0 and rows[:1].size == rows.shape[1]
    if rows.dtype.kind != "f" or not one_axis:
        message = f"output {spec.name!r} holds no class scores that softmax could be applied to"
        raise RunnerError("unsupported", message)


def times(parts: Iterator[np.ndarray]) -> int:
    """How often softmax is to be taken: once of probabilities, twice of anything else.

    Args:
        parts: all rows, in parts [n, C]. Rows with NaN or infinite values decide nothing.
    """
    lowest, highest, off_steps = np.inf, -np.inf, 0.0
    sums = (np.inf, -np.inf)
    for part in parts:
        scores = part[np.isfinite(part).all(axis=1)].astype(np.float64)
        if not len(scores):
            continue
        added = scores.sum(axis=1)
        levels = scores * _SOFTMAX_LEVELS
        lowest, highest = min(lowest, scores.min()), max(highest, scores.max())
        sums = min(sums[0], added.min()), max(sums[1], added.max())
        off_steps = max(off_steps, np.abs(levels - np.rint(levels)).max())
    return 1 if _are_probabilities(lowest, highest, sums, off_steps) else 2


def softmax(scores: np.ndarray) -> np.ndarray:
    """Of each row: [n, C], of the same dtype."""
    raised: np.ndarray = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def applied(
    read: Callable[[], Iterator[np.ndarray]],
) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """The parts of `read()`, which is gone through twice, each with what becomes of it."""
    again = times(read())
    for part in read():
        made = part
        # NaN and infinite values become NaN, which the count of them tells.
        with np.errstate(invalid="ignore"):
            for _ in range(again):
                made = softmax(made)
        yield part, made


def _are_probabilities(
    lowest: float, highest: float, sums: Tuple[float, float], off_steps: float
) -> bool:
    """The orchestrator's rule: rows add up to one; of an 8-bit softmax, to no more than one.

    Such an output comes in steps of 1/256. Most of a thousand probabilities are below half a step
    and so were rounded away: what is left of a row adds up to clearly less than one.
    """
    if lowest < 0 or highest > 1 + _SUM_TOLERANCE or sums[0] <= 0:
        return False
    if off_steps < _STEP_TOLERANCE:
        return sums[1] <= 1 + _QUANTISED_EXCESS
    return max(sums[1] - 1, 1 - sums[0]) <= _SUM_TOLERANCE
