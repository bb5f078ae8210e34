"""The quick sweep's head: labels that spread over all classes, and margins of every size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.models.quick_images import TEXTURES

Floats = NDArray[np.float64]

SCALE = 20.0
RIDGE = 3.0
MARGINS = (1e-6, 0.1)
WRONG_EVERY = 3
_GRID = 2.0**-24


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer and the ground truth that goes with it.

    Attributes:
        weights: [classes, features], float32 values.
        bias: [classes], float32 values.
        labels: ground truth [N].
    """

    weights: Floats
    bias: Floats
    labels: NDArray[np.int64]


def class_names() -> list[str]:
    """A name a class; the two of one texture are its a and b."""
    names = []
    for texture in TEXTURES:
        parts = [""] if texture.classes == 1 else [" a", " b"]
        names += [texture.name + part for part in parts]
    return names


def fit_head(features: Floats, textures: NDArray[np.int64]) -> Head:
    """Fit a head by ridge regression, then part the twin classes by margins that are chosen.

    For a texture of two classes, a and b, the weights are first equal. Then the smallest change
    that gives each of its images a chosen signed margin between a and b is added to one and
    taken from the other. The margins run over `MARGINS`, closest at the small end: about a
    dozen stand at the rounding of float32 logits, where two correct environments may well
    differ, so that a table without any flip would be the suspicious one. Ground truth follows
    the sign of the margin, but for one image in `WRONG_EVERY`.

    Args:
        features: float64 [N, features].
        textures: the texture of each image [N].
    """
    first = np.cumsum([0, *(texture.classes for texture in TEXTURES)])
    count = int(first[-1])
    centre = features.mean(axis=0)
    centred = features - centre
    targets = np.zeros((len(features), count))
    for number, texture in enumerate(TEXTURES):
        rows = textures == number
        targets[rows, first[number] : first[number] + texture.classes] = SCALE
    gram = centred.T @ centred
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, centred.T @ targets).T
    bias = targets.mean(axis=0) - weights @ centre

    labels = first[textures].astype(np.int64)
    twins = [number for number, texture in enumerate(TEXTURES) if texture.classes == 2]
    for turn, number in enumerate(twins):
        a, b = first[number], first[number] + 1
        rows = np.flatnonzero(textures == number)
        margins = _signed_margins(len(rows), (turn + 0.5) / len(twins))
        change = np.linalg.lstsq(features[rows], margins, rcond=None)[0]
        weights[a] = weights[b] = (weights[a] + weights[b]) / 2
        bias[a] = bias[b] = (bias[a] + bias[b]) / 2
        weights[a] += change / 2
        weights[b] -= change / 2
        wrong = np.arange(len(rows)) % WRONG_EVERY == WRONG_EVERY - 1
        labels[rows] = np.where((margins > 0) ^ wrong, a, b)
    return Head(_single(weights), _single(bias), labels)


def _signed_margins(count: int, shift: float) -> Floats:
    """Margins whose logarithms grow as squares; `shift` (0 to 1) within a step; signs in turns."""
    low, high = np.log10(MARGINS)
    powers = low + (high - low) * ((np.arange(count) + shift) / count) ** 2
    signs = np.where(np.arange(count) // 2 % 2 == 0, 1.0, -1.0)
    return np.asarray(signs * 10.0**powers)


def _single(values: Floats) -> Floats:
    rounded = np.round(values / _GRID) * _GRID
    return np.asarray(rounded.astype(np.float32).astype(np.float64))
