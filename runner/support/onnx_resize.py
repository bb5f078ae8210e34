"""ONNX's `Resize` and `Upsample` as plain numbers: new sizes, and which old values make a new one.

Sizes and positions are computed in float32, as ONNX Runtime does: the scale 0.7 (in float32 a little
less) makes 10 to 7 and not to 6, and where a position lies just between two values, the rounding
decides which is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np

_NEW_RULES = 11
"""Since then `Resize` says how positions are found and rounded."""

# ONNX Runtime takes a position so near to a half for one: measured on 1,450 resizings.
_TIE = 1e-6

_ROUNDING: Dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5 - _TIE),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5 + _TIE),
}
_HALF = np.float32(0.5)


@dataclass(frozen=True)
class Rules:
    """How positions are found, by ONNX's words; `simple` rounding is that of before opset 11."""

    mode: str
    coordinates: str
    nearest: str

    @classmethod
    def of(cls, operator: str, opset: int, attributes: Dict[str, object]) -> Rules:
        """Of a `Resize` or `Upsample` under its opset."""
        mode = str(attributes.get("mode", "nearest"))
        mode = "linear" if mode == "bilinear" else mode
        if operator == "Upsample" or opset < _NEW_RULES:
            return cls(mode, "asymmetric", "simple")
        return cls(
            mode,
            str(attributes.get("coordinate_transformation_mode", "half_pixel")),
            str(attributes.get("nearest_mode", "round_prefer_floor")),
        )


@dataclass(frozen=True)
class Target:
    """One axis that is resized."""

    size: int
    wanted: int
    scale: np.float32

    def positions(self, rules: Rules) -> np.ndarray:
        """Where each new value lies among the old ones: float32 [wanted].

        Raises:
            ValueError: for a mode that is not supported.
        """
        x, size, wanted = np.arange(self.wanted, dtype=np.float32), self.size, self.wanted
        how = rules.coordinates
        if wanted == 1 and how in ("pytorch_half_pixel", "align_corners"):
            return np.zeros(1, np.float32)
        if how in ("half_pixel", "pytorch_half_pixel"):
            return (x + _HALF) / self.scale - _HALF
        if how == "asymmetric":
            return x / self.scale
        if how == "align_corners":
            return x * np.float32(size - 1) / np.float32(wanted - 1)
        if how == "half_pixel_symmetric":
            share = np.float32(wanted) / (self.scale * np.float32(size))
            offset = np.float32(size) / np.float32(2) * (np.float32(1) - share)
            return offset + (x + _HALF) / self.scale - _HALF
        message = f"coordinate_transformation_mode {how!r}"
        raise ValueError(message)

    def nearest(self, rules: Rules) -> np.ndarray:
        """The old value that each new one is: int64 [wanted].

        Raises:
            ValueError: for a mode that is not supported.
        """
        rounding = rules.nearest
        if rounding == "simple":
            rounding = "ceil" if self.scale < 1 else "floor"
        if rounding not in _ROUNDING:
            message = f"nearest_mode {rounding!r}"
            raise ValueError(message)
        # A half added in float32 would lift what is just below a half.
        chosen = _ROUNDING[rounding](self.positions(rules).astype(np.float64))
        sources: np.ndarray = np.clip(chosen, 0, self.size - 1).astype(np.int64)
        return sources

    def linear(self, rules: Rules) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The two neighbours of each new value (int64), and the second one's share (float32).

        Raises:
            ValueError: for a mode that is not supported.
        """
        at = np.clip(self.positions(rules), 0, self.size - 1)
        low = np.floor(at).astype(np.int64)
        return low, np.minimum(low + 1, self.size - 1), (at - low).astype(np.float32)

    def cubic(self, rules: Rules, a: float) -> Tuple[np.ndarray, np.ndarray]:
        """The four neighbours of each new value (int64 [4, wanted]) and their shares (float32).

        Keys' cubic convolution (IEEE Trans. ASSP 29, 1981).

        Raises:
            ValueError: for a mode that is not supported.
        """
        at = self.positions(rules).astype(np.float64)
        whole = np.floor(at)
        f = at - whole
        shares = (
            ((a * (f + 1) - 5 * a) * (f + 1) + 8 * a) * (f + 1) - 4 * a,
            ((a + 2) * f - (a + 3)) * f * f + 1,
            ((a + 2) * (1 - f) - (a + 3)) * (1 - f) * (1 - f) + 1,
            ((a * (2 - f) - 5 * a) * (2 - f) + 8 * a) * (2 - f) - 4 * a,
        )
        taken = whole[None] + np.arange(-1, 3)[:, None]
        return (
            np.clip(taken, 0, self.size - 1).astype(np.int64),
            np.stack(shares).astype(np.float32),
        )


def targets(
    sizes: Sequence[Optional[int]],
    axes: Sequence[int],
    scales: Optional[Sequence[float]],
    wanted: Optional[Sequence[int]],
    policy: str = "stretch",
) -> Dict[int, Target]:
    """The axes that are resized.

    An axis whose scale is not 1 is resampled, also where its size stays: so says ONNX's text.

    Args:
        sizes: those of the input; None for one that is open, which must stay.
        axes: those that `scales` or `wanted` are about, counted from the front.
        scales: where the model gives these.
        wanted: the new sizes, where it gives these.
        policy: ONNX's `keep_aspect_ratio_policy`, for new sizes.

    Raises:
        ValueError: if neither is given, or an open axis would be resized.
    """
    if scales is None and wanted is None:
        message = "it has neither constant scales nor constant sizes"
        raise ValueError(message)
    found: Dict[int, Target] = {}
    factors = _factors(sizes, axes, wanted or (), policy) if scales is None else scales
    for index, axis in enumerate(axes):
        size, scale = sizes[axis], np.float32(factors[index])
        if scales is not None:
            new = size if size is None else int(np.floor(np.float32(size) * scale))
        elif policy == "stretch" or size is None:
            new = None if size is None else (wanted or ())[index]
        else:
            new = int(np.floor(np.float32(size) * scale + _HALF))
        if size is None or new is None:
            if scale != 1:
                message = "it resizes an axis whose size is open"
                raise ValueError(message)
        elif new != size or scale != 1:
            found[axis] = Target(size, new, scale)
    return found


def _factors(
    sizes: Sequence[Optional[int]], axes: Sequence[int], wanted: Sequence[int], policy: str
) -> Sequence[float]:
    """The scales that new sizes mean; 1 for an open axis, which is told by neither."""
    known = [sizes[axis] for axis in axes]
    each = [
        1.0 if size is None else float(np.float32(new) / np.float32(size))
        for size, new in zip(known, wanted)
    ]
    if policy == "stretch":
        return each
    one = min(each) if policy == "not_larger" else max(each)
    return [one] * len(each)
