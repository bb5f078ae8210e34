"""The quick sweep's images: seeded textures, drawn with integers so that every machine agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.int64]

SIDE = 146
"""Pixels a side: what the recipes resize to for inputs of 128, so that nothing is resampled."""

PER_TEXTURE = 8


class Draws:
    """Seeded numbers from PCG64's raw stream, which NumPy keeps equal between its versions."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """float64 in [0, 1) with 53 random bits."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        return ((np.asarray(raw, dtype=np.uint64) >> np.uint64(11)) / 2.0**53).reshape(shape)

    def integers(self, low: int, high: int, *shape: int) -> Grid:
        """int64 in [low, high)."""
        return low + np.floor(self.uniform(*shape) * (high - low)).astype(np.int64)

    def integer(self, low: int, high: int) -> int:
        """One integer in [low, high)."""
        return int(self.integers(low, high, 1)[0])


@dataclass(frozen=True, slots=True)
class Texture:
    """A kind of picture: `level` gives each pixel a value from 0 to 255."""

    name: str
    level: Callable[[Grid, Grid, int, Draws], Grid]
    period: int
    classes: int = 1


def _wave(position: Grid, period: int) -> Grid:
    """A triangle wave, 0 to 255."""
    within = position % (2 * period)
    return np.minimum(within, 2 * period - within) * 255 // period


def _square(position: Grid, period: int) -> Grid:
    return (position // period % 2) * 255


def _rows(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    return _wave(8 * y + draws.integer(-2, 3) * x, 8 * period)


def _columns(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    return _wave(8 * x + draws.integer(-2, 3) * y, 8 * period)


def _diagonals(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    return _square(8 * x + (8 + draws.integer(-2, 3)) * y, 8 * period)


def _checks(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    skew = draws.integer(-1, 2)
    return _square(8 * x + skew * y, 8 * period) ^ _square(8 * y - skew * x, 8 * period)


def _rings(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    a, b = x - SIDE // 2 + draws.integer(-20, 21), y - SIDE // 2 + draws.integer(-20, 21)
    return _wave((a * a + b * b) // 16, 4 * period)


def _diamonds(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    a, b = x - SIDE // 2 + draws.integer(-20, 21), y - SIDE // 2 + draws.integer(-20, 21)
    return _square(np.abs(a) + np.abs(b), period)


def _crosses(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    a, b = x - SIDE // 2 + draws.integer(-20, 21), y - SIDE // 2 + draws.integer(-20, 21)
    return _wave(np.minimum(np.abs(a), np.abs(b)), period)


def _dots(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:  # noqa: ARG001 - one signature for all
    a, b = x % (2 * period) - period, y % (2 * period) - period
    return np.where(a * a + b * b < period * period // 2, 255, 0)


def _blobs(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:  # noqa: ARG001 - one signature for all
    coarse = draws.integers(0, 256, SIDE // period + 3, SIDE // period + 3)
    fine = np.kron(coarse, np.ones((period, period), dtype=np.int64))
    rows = np.sum([fine[i : i + SIDE] for i in range(period)], axis=0) // period
    blurred = np.sum([rows[:, i : i + SIDE] for i in range(period)], axis=0) // period
    return np.asarray(blurred, dtype=np.int64)


def _weave(x: Grid, y: Grid, period: int, draws: Draws) -> Grid:
    return (_rows(x, y, period, draws) + _square(x + y, period)) // 2


TEXTURES = (
    Texture("rows", _rows, 5),
    Texture("wide-rows", _rows, 13),
    Texture("columns", _columns, 5),
    Texture("wide-columns", _columns, 13),
    Texture("diagonals", _diagonals, 7),
    Texture("checks", _checks, 6),
    Texture("wide-checks", _checks, 15),
    Texture("rings", _rings, 12),
    Texture("diamonds", _diamonds, 9),
    Texture("crosses", _crosses, 8),
    Texture("dots", _dots, 7),
    Texture("blobs", _blobs, 12),
    Texture("weave", _weave, 6, classes=2),
    Texture("wide-blobs", _blobs, 24, classes=2),
)
"""Those of two classes are drawn twice as often; only the head of the network parts the two."""


def draw_images(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images and the texture of each: uint8 [N, SIDE, SIDE, 3], int64 [N]."""
    draws = Draws(seed)
    images, textures = [], []
    for number, texture in enumerate(TEXTURES):
        for _ in range(PER_TEXTURE * texture.classes):
            images.append(_draw(texture, draws))
            textures.append(number)
    return np.stack(images), np.array(textures)


def _draw(texture: Texture, draws: Draws) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)
    x, y = x + draws.integer(0, 64), y + draws.integer(0, 64)
    period = texture.period + draws.integer(-1, 2)
    level = texture.level(x, y, period, draws)[..., None]
    ink, paper = draws.integers(0, 256, 3), draws.integers(0, 256, 3)
    colours = (ink * level + paper * (255 - level)) // 255
    noise = draws.integers(-24, 25, SIDE, SIDE, 3)
    return np.clip(colours + noise, 0, 255).astype(np.uint8)
