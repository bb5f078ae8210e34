"""ONNX's sliding windows as plain numbers: how an axis is padded, and what a window covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np

Pads = Tuple[int, int]
"""What is added in front and behind."""


@dataclass(frozen=True)
class Window:
    """A sliding window along one axis."""

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1

    @property
    def reach(self) -> int:
        """How many elements lie between its first and its last, both counted."""
        return (self.kernel - 1) * self.dilation + 1

    def same_pads(self, *, lower: bool = False) -> Pads:
        """TensorFlow's SAME: an odd element goes behind, or in front (`lower`)."""
        count = -(-self.size // self.stride)
        total = max((count - 1) * self.stride + self.reach - self.size, 0)
        small, large = total // 2, total - total // 2
        return (large, small) if lower else (small, large)

    def ceil_extra(self, pads: Pads) -> int:
        """What `ceil_mode` adds behind the padding so that the last, partial window is whole.

        A window that would begin behind the input and its front padding is left out, as PyTorch
        does and ONNX says since opset 22.
        """
        span = self.size + sum(pads)
        count = -(-(span - self.reach) // self.stride) + 1
        if (count - 1) * self.stride >= self.size + pads[0]:
            count -= 1
        return max((count - 1) * self.stride + self.reach - span, 0)

    def counts(self, pads: Pads, extra: int, *, include_pad: bool) -> np.ndarray:
        """How many elements each window averages over: int64 [windows]."""
        whole = np.zeros(self.size + sum(pads) + extra, np.int64)
        first, last = pads[0], pads[0] + self.size
        if include_pad:
            first, last = 0, self.size + sum(pads)
        whole[first:last] = 1
        starts = range(0, len(whole) - self.reach + 1, self.stride)
        return np.array([whole[s : s + self.reach : self.dilation].sum() for s in starts])


def resolve_pads(windows: Sequence[Window], pads: Sequence[int], auto_pad: str) -> List[Pads]:
    """The padding of each axis in front and behind, from ONNX's `pads` or `auto_pad`."""
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return [window.same_pads(lower=auto_pad == "SAME_LOWER") for window in windows]
    if auto_pad == "VALID" or not len(pads):
        return [(0, 0) for _ in windows]
    half = len(windows)
    return [(int(pads[axis]), int(pads[axis + half])) for axis in range(half)]
