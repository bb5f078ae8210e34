"""Input mistakes recognised by how they move the mean standardised scores of ImageNet classes.

Swapped colours, transposed sides and wrong normalisation each favour certain classes and hurt
others, much alike in every ImageNet model. `suspicion_profiles.npz` (made and validated by
`benchmarks/suspicions.py`) holds, over the 1000 classes: the mean of healthy models, the shift
that each mistake makes (its signature), how healthy models differ from each other (style), and
how images differ (content). The shift of a cell is explained by generalised least squares: a sum
of signatures with weights that are not negative, under the covariance content / N + style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

CLASSES = 1000
GROUPS: Mapping[str, tuple[str, ...]] = {
    "bgr": ("bgr", "bgr-balanced", "grb"),
    "sides-swapped": ("transposed",),
    "wrong-normalisation": ("low-contrast", "high-contrast", "unscaled", "no-mean"),
}
"""Which signatures speak for which suspicion; the others (noise, blur, …) explain the rest away."""

_FILE = Path(__file__).resolve().parent.parent / "suspicion_profiles.npz"
# Beyond so many images their choice (only dogs, say) counts for more than their number.
_MOST_IMAGES = 100
# A fit that leaves less than this is no better than one that leaves this.
_LEAST_MISFIT = 0.3
_DIRECTIONS = 50

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """How far signatures explain a shift.

    Attributes:
        strength: for each suspicion, how much worse the fit is without its signatures, in units of
            what no signature explains (a t statistic; healthy models stay below about 4).
        weight: for each suspicion, the sum of its signatures' weights; 1 is the usual shift.
        weights: for each signature.
        misfit: root mean square of what is left, 1 where it is as large as models usually differ.
    """

    strength: Mapping[str, float]
    weight: Mapping[str, float]
    weights: Mapping[str, float]
    misfit: float


@dataclass(frozen=True, eq=False)
class Profiles:
    """The learned statistics, float64 over the 1000 classes.

    Attributes:
        mean: [1000] of healthy models.
        names: K names of signatures.
        signatures: [K, 1000] shifts.
        style: [S, 1000] factors of the covariance between models.
        style_rest: variance of a class between models beyond the factors.
        content: [R, 1000] factors of the covariance between images.
        content_rest: variance of a class between images beyond the factors.
    """

    mean: Floats
    names: tuple[str, ...]
    signatures: Floats
    style: Floats
    style_rest: float
    content: Floats
    content_rest: float

    @cached_property
    def directions(self) -> Floats:
        """[50, 1000], orthonormal: the 50 directions in which images differ most."""
        most = self.content[:_DIRECTIONS]
        return np.asarray(np.linalg.qr(most.T)[0].T)

    def covariance(self, images: int) -> Floats:
        """[1000, 1000], of the mean over a number of images."""
        n = max(1, min(images, _MOST_IMAGES))
        factors = np.concatenate([self.style, self.content / np.sqrt(n)])
        rest = self.style_rest + self.content_rest / n
        return np.asarray(factors.T @ factors + rest * np.eye(CLASSES))

    @lru_cache(maxsize=8)  # noqa: B019  # the few profiles there are live as long as the process
    def whitened(self, images: int) -> tuple[Floats, Floats, Floats]:
        """The Cholesky factor of the covariance; the signatures in its units, as Q and R."""
        factor = cholesky(self.covariance(images), lower=True)
        q, r = np.linalg.qr(solve_triangular(factor, self.signatures.T, lower=True))
        return factor, q, r

    def fit(self, shift: Floats, images: int) -> Fit:
        """Explain a shift of mean standardised scores.

        Args:
            shift: float64 [1000], a cell's profile minus `mean`, or minus another cell's.
            images: N that it was averaged over.
        """
        factor, q, r = self.whitened(min(images, _MOST_IMAGES))
        y = solve_triangular(factor, shift, lower=True)
        # Only what lies in the span of the signatures can be explained: a small problem.
        inside = q.T @ y
        outside = max(0.0, float(y @ y - inside @ inside))
        weights, left = nnls(r, inside)
        misfit = float(np.sqrt((outside + left**2) / CLASSES))
        unit = max(misfit, _LEAST_MISFIT)
        strength, weight = {}, {}
        for kind, members in GROUPS.items():
            rest = [i for i, name in enumerate(self.names) if name not in members]
            without = nnls(r[:, rest], inside)[1]
            strength[kind] = float(np.sqrt(max(0.0, without**2 - left**2)) / unit)
            mine = set(range(len(self.names))) - set(rest)
            weight[kind] = float(sum(weights[i] for i in mine))
        by_name = dict(zip(self.names, map(float, weights), strict=True))
        return Fit(strength, weight, by_name, misfit)


def load(path: Path = _FILE) -> Profiles:
    """Read learned statistics from a file of named arrays."""
    with np.load(path, allow_pickle=False) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    return Profiles(
        mean=arrays["mean"].astype(np.float64),
        names=tuple(str(name) for name in arrays["names"]),
        signatures=arrays["signatures"].astype(np.float64),
        style=arrays["style"].astype(np.float64),
        style_rest=float(arrays["style_rest"]),
        content=arrays["content"].astype(np.float64),
        content_rest=float(arrays["content_rest"]),
    )


@lru_cache(maxsize=1)
def shipped() -> Profiles:
    """The statistics that come with the package."""
    return load()


def learn(
    healthy: Sequence[Floats],
    benign: Sequence[Sequence[Floats]],
    mistaken: Mapping[str, Sequence[Floats]],
    factors: int = 200,
) -> Profiles:
    """Learn statistics from standardised scores.

    Args:
        healthy: for each model, float [N, 1000], standardised rows.
        benign: for each model, the mean shifts [1000] that harmless changes make (another crop).
        mistaken: for each signature, the mean shifts [1000] that it makes, over models.
        factors: how many directions of content to keep.
    """
    means = np.stack([rows.mean(axis=0) for rows in healthy])
    mean = means.mean(axis=0)
    between = (means - mean) / np.sqrt(max(1, len(means) - 1))
    harmless = np.stack([shift for shifts in benign for shift in shifts])
    within = np.concatenate([rows - rows.mean(axis=0) for rows in healthy])
    within /= np.sqrt(len(within))
    _, values, directions = np.linalg.svd(within, full_matrices=False)
    kept = values[:factors, None] * directions[:factors]
    rest = float((values[factors:] ** 2).sum() / CLASSES)
    return Profiles(
        mean=mean,
        names=tuple(mistaken),
        signatures=np.stack([np.mean(shifts, axis=0) for shifts in mistaken.values()]),
        style=np.concatenate([between, harmless / np.sqrt(len(harmless))]),
        style_rest=float((between**2).sum() / CLASSES),
        content=kept,
        content_rest=rest,
    )


def save(profiles: Profiles, path: Path) -> None:
    """Write learned statistics, arrays as float16."""
    np.savez_compressed(
        path,
        mean=profiles.mean.astype(np.float16),
        names=np.array(profiles.names),
        signatures=profiles.signatures.astype(np.float16),
        style=profiles.style.astype(np.float16),
        style_rest=np.float32(profiles.style_rest),
        content=profiles.content.astype(np.float16),
        content_rest=np.float32(profiles.content_rest),
    )


def standardised(scores: npt.NDArray[Any]) -> Floats:
    """Rows with mean 0 and standard deviation 1, float64 [N, C]."""
    x = np.asarray(scores, dtype=np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    return np.asarray(x / x.std(axis=1, keepdims=True))
