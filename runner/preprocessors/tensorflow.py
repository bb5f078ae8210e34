"""TensorFlow's own means: `tf.io` to decode by content, `tf.image.resize` to floats.

`dct` is the inverse transform of the JPEG decoder: `fast` is what `decode_jpeg` does when nobody
asks, and differs from all others here; `accurate` is theirs. `antialias` is off unless asked for.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

import numpy as np
import tensorflow as tf

from runner.prepare_jobs import Geometry
from runner.preprocessors.base import (
    ImageError,
    cannot_decode,
    crop,
    header_of,
    target_size,
)

SETTINGS: Dict[str, Tuple[Any, ...]] = {"dct": ("fast", "accurate"), "antialias": (False, True)}

_DCT = {"fast": "INTEGER_FAST", "accurate": "INTEGER_ACCURATE"}
_METHODS = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos3",
    "box": "area",
}


def versions() -> Dict[str, str]:
    """TensorFlow, which brings its own decoders."""
    return {"tensorflow": tf.__version__}


def start() -> None:
    """Leave a GPU alone: its memory belongs to whoever is measured on it."""
    tf.config.set_visible_devices([], "GPU")


def decode_and_fit(data: bytes, geometry: Geometry, settings: Mapping[str, Any]) -> np.ndarray:
    """The pixels of an image file: [height, width, 3], float32 of 0 to 255 where it was resized.

    Nothing is rounded, and bicubic and Lanczos go beyond 0 and 255 at edges, as in TensorFlow;
    `nearest` keeps uint8.

    Raises:
        ImageError: with the reason why the image can't be used.
    """
    header = header_of(data)
    try:
        if header.format == "JPEG":
            image = tf.io.decode_jpeg(data, channels=3, dct_method=_DCT[settings["dct"]])
        else:
            image = tf.io.decode_image(data, channels=3, expand_animations=False)
    # What TensorFlow raises on corrupt bytes is not documented; the reason is recorded.
    except Exception as error:
        raise cannot_decode(_said(error)) from error
    height, width = image.shape[:2]
    if width * height == 0:
        raise ImageError("it has no pixels")
    size = target_size(width, height, geometry)
    # An image that has the size already comes back as it was, and the others are floats.
    dtype = np.uint8 if geometry.interpolation == "nearest" else np.float32
    method = _METHODS[geometry.interpolation]
    try:
        resized = np.asarray(
            tf.image.resize(image, size[::-1], method, antialias=settings["antialias"]), dtype=dtype
        )
    except Exception as error:
        raise cannot_decode(_said(error)) from error
    return crop(resized, geometry)


def _said(error: Exception) -> str:
    """TensorFlow's own words, without the name of its operator before and after them."""
    words = str(getattr(error, "message", "") or error)
    return words.partition("}} ")[2].partition(" [Op:")[0] or words
