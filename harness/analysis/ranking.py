"""Top-k lists and the distances between them. Pure, vectorised over images.

Ties break to the lowest class index everywhere; an image whose scores hold a NaN has no ranking
and is written as `NO_CLASS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NO_CLASS = -1
"""Stands for "this image has no top class" (its scores hold a NaN)."""

Scores = npt.NDArray[Any]
Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def top_k(scores: Scores, k: int) -> Classes:
    """The k best classes of each row, best first; equal scores by lowest class.

    Args:
        scores: [N, C]; rows with a NaN give `NO_CLASS` throughout.
        k: how many, at most C.

    Returns:
        int64 [N, k].
    """
    rows = np.arange(len(scores))
    work = np.array(scores, dtype=np.float64)
    broken = np.isnan(work).any(axis=1)
    work[broken] = 0.0
    # k passes of argmax are several times faster than sorting 1000 columns; a row with fewer
    # than k scores above -inf cannot be walked that way and is sorted.
    unwalkable = np.isneginf(work).sum(axis=1) > work.shape[1] - k
    sorted_rows = np.argsort(-work[unwalkable], axis=1, kind="stable")[:, :k]
    best = np.empty((len(work), k), dtype=np.int64)
    for rank in range(k):
        best[:, rank] = work.argmax(axis=1)
        work[rows, best[:, rank]] = -np.inf
    best[unwalkable] = sorted_rows
    best[broken] = NO_CLASS
    return best


def top_ties(scores: Scores) -> npt.NDArray[np.bool_]:
    """Whether more than one class shares the highest score: bool [N]."""
    work = np.asarray(scores)
    tied: npt.NDArray[np.bool_] = (work == work.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return tied


def margins(scores: Scores) -> Floats:
    """Best score minus second best: float64 [N], NaN where C is 1 or a score is not finite."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.nan)
    work = np.asarray(scores, dtype=np.float64)
    pair = np.partition(work, work.shape[1] - 2, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):
        difference: Floats = pair[:, 1] - pair[:, 0]
    return np.where(np.isfinite(difference), difference, np.nan)


def overlap(a: Classes, b: Classes) -> Floats:
    """Jaccard index of the two top-k sets of each image: float64 [N]."""
    shared = (a[:, :, None] == b[:, None, :]).any(axis=2).sum(axis=1)
    depth = a.shape[1]
    jaccard: Floats = shared / (2 * depth - shared)
    return jaccard


def rank_biased_overlap(a: Classes, b: Classes, p: float = 0.9) -> Floats:
    """Extrapolated rank-biased overlap of two lists of equal length: float64 [N].

    Webber, Moffat, Zobel (2010), "A similarity measure for indefinite rankings", equation 30:
    X_k/k * p^k + (1-p)/p * sum over d of X_d/d * p^d. Identical lists give 1, disjoint ones 0.
    """
    depth = a.shape[1]
    equal = a[:, :, None] == b[:, None, :]
    shares = np.empty((len(a), depth))
    for d in range(1, depth + 1):
        shares[:, d - 1] = equal[:, :d, :d].any(axis=2).sum(axis=1) / d
    weights = p ** np.arange(1, depth + 1)
    result: Floats = shares[:, -1] * weights[-1] + (1 - p) / p * (shares @ weights)
    return result


def kendall_tau_b(a: Classes, b: Classes) -> Floats:
    """Kendall's tau-b of ranks over the union of two top-k lists: float64 [N].

    Each class of the union has its rank in either list; a class absent from a list is tied last
    there (Fagin, Kumar, Sivakumar 2003 treat absence so; tau-b for the ties). Identical lists
    give 1; [1..5] against [6..10] gives -25/35. Ranks are compared, never class numbers.
    """
    depth = a.shape[1]
    equal = a[:, :, None] == b[:, None, :]
    ranks = np.arange(depth)
    a_in_b = np.where(equal.any(axis=2), equal.argmax(axis=2), depth)
    b_in_a = equal.any(axis=1)
    own = np.broadcast_to(ranks, a.shape)
    # The union: all of a's classes, then those of b that a lacks (others are masked).
    rank_a = np.concatenate([own, np.full_like(own, depth)], axis=1)
    rank_b = np.concatenate([a_in_b, own], axis=1)
    member = np.concatenate([np.ones_like(b_in_a), ~b_in_a], axis=1)
    left, right = np.triu_indices(2 * depth, k=1)
    counted = member[:, left] & member[:, right]
    sign_a = np.sign(rank_a[:, left] - rank_a[:, right]) * counted
    sign_b = np.sign(rank_b[:, left] - rank_b[:, right]) * counted
    agreement = (sign_a * sign_b).sum(axis=1)
    scale = np.sqrt((sign_a != 0).sum(axis=1) * (sign_b != 0).sum(axis=1).astype(np.float64))
    tau: Floats = np.divide(agreement, scale, out=np.ones(len(a)), where=scale > 0)
    return tau
