"""What the class scores of two cells say of each image: top lists, margins, divergence. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analysis import ranking
from harness.analysis.ranking import NO_CLASS
from harness.analysis.values import Array, Floats, chunks

TOP = 5
RBO_P = 0.9
_SMALLEST_PROBABILITY = 1e-12

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranked:
    """What the class scores of both cells give, image by image."""

    best_a: Integers
    best_b: Integers
    ties: tuple[int, int]
    margin_a: Floats
    margin_b: Floats
    jaccard: Floats
    rbo: Floats
    tau: Floats
    kl: Floats


def rank(a: Array, b: Array, kind: str | None, notes: list[str]) -> Ranked:
    """Rank the class scores of two cells, both [N, C].

    Args:
        a: scores of the reference.
        b: scores of the other.
        kind: of both, or None when they are of unlike kinds; KL needs a common one.
        notes: what could not be measured is added here.
    """
    count, classes = a.shape
    top = min(TOP, classes)
    best_a, best_b = (np.empty((count, top), dtype=np.int64) for _ in range(2))
    columns = {
        name: np.full(count, np.nan)
        for name in ("margin_a", "margin_b", "jaccard", "rbo", "tau", "kl")
    }
    ties_a = ties_b = 0
    for part in chunks(count, classes):
        x, y = np.asarray(a[part]), np.asarray(b[part])
        best_a[part], best_b[part] = ranking.top_k(x, top), ranking.top_k(y, top)
        ties_a += int(ranking.top_ties(x).sum())
        ties_b += int(ranking.top_ties(y).sum())
        columns["margin_a"][part], columns["margin_b"][part] = (
            ranking.margins(x),
            ranking.margins(y),
        )
        valid = (best_a[part][:, 0] != NO_CLASS) & (best_b[part][:, 0] != NO_CLASS)
        rows = np.flatnonzero(valid) + part.start
        lists = best_a[rows], best_b[rows]
        columns["jaccard"][rows] = ranking.overlap(*lists)
        columns["rbo"][rows] = ranking.rank_biased_overlap(*lists, RBO_P)
        columns["tau"][rows] = ranking.kendall_tau_b(*lists)
        if kind in {"logits", "probabilities"}:
            columns["kl"][part] = _kl(x, y, kind)
    if kind is None:
        notes.append("scores of unlike kinds: only labels and rankings are compared")
    return Ranked(best_a=best_a, best_b=best_b, ties=(ties_a, ties_b), **columns)


def _kl(x: Array, y: Array, kind: str) -> Floats:
    finite = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    logs = _log_softmax if kind == "logits" else _log_probabilities
    log_p, log_q = logs(x[finite]), logs(y[finite])
    divergence = np.full(len(x), np.nan)
    # Rounding can leave -1e-17 where two distributions are equal.
    divergence[finite] = np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0.0)
    return divergence


def _log_softmax(x: Array) -> Floats:
    shifted = x.astype(np.float64) - x.max(axis=1, keepdims=True).astype(np.float64)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _log_probabilities(x: Array) -> Floats:
    # Quantised softmax gives exact zeros, which would make the divergence infinite.
    p = np.maximum(x.astype(np.float64), _SMALLEST_PROBABILITY)
    result: Floats = np.log(p / p.sum(axis=1, keepdims=True))
    return result
