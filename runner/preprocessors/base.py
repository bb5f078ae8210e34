"""What all preprocessors share: the sizes, the crop and the bounds, so that only libraries differ.

Sizes are those of the orchestrator's own preparation: the side that limits gets the geometry's
size, the other int(size * other / side). The crop is centred and begins at the lower whole pixel.
"""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from runner.prepare_jobs import Geometry
from runner.support.image_header import Header, read_header

MAX_PIXELS = 89_478_485
"""Larger images are left out, as by the orchestrator: a small file can unfold to any size."""


class ImageError(Exception):
    """An image that can't be used; the text is the reason, for a record."""


def header_of(data: bytes) -> Header:
    """The format and size that a file's header tells; unknown ones are an empty format and 0.

    Raises:
        ImageError: the file is empty, or tells of more than `MAX_PIXELS` pixels.
    """
    if not data:
        raise ImageError("the file is empty")
    header = read_header(data)
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(f"it has more than {MAX_PIXELS} pixels")
    return header


def target_size(width: int, height: int, geometry: Geometry) -> Tuple[int, int]:
    """Width and height after resizing, before the crop.

    Raises:
        ImageError: the image is so long and narrow that it would become too large.
    """
    if geometry.squash:
        return geometry.width, geometry.height
    if geometry.resize_height * width >= geometry.resize_width * height:
        found = int(geometry.resize_height * width / height), geometry.resize_height
    else:
        found = geometry.resize_width, int(geometry.resize_width * height / width)
    if found[0] * found[1] > MAX_PIXELS:
        raise ImageError(f"it is too long and narrow: {width} x {height} pixels")
    return found


def crop(pixels: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The centre of a resized image [H, W, 3]: [height, width, 3], a view."""
    top = (pixels.shape[0] - geometry.height) // 2
    left = (pixels.shape[1] - geometry.width) // 2
    cropped: np.ndarray = pixels[top : top + geometry.height, left : left + geometry.width]
    return cropped


def cannot_decode(error: Any) -> ImageError:
    """The reason that a library gives, on one line and short."""
    words = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"it cannot be decoded: {words[:200]}")
