"""OpenCV as it is used by hand: `imread`, `resize`, BGR to RGB.

`resize` does not antialias: where an image is shrunk, the methods look at as few pixels as where
it is enlarged. `area` shrinks by INTER_AREA instead. `exif` turns an image as its EXIF data say,
which is `imread`'s default and nobody else's here.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Tuple

import numpy as np

from runner.prepare_jobs import Geometry
from runner.preprocessors.base import (
    MAX_PIXELS,
    ImageError,
    cannot_decode,
    crop,
    header_of,
    target_size,
)

# Read when the library is loaded: it bounds the formats whose headers are not read here.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402

SETTINGS: Dict[str, Tuple[Any, ...]] = {"exif": (True, False), "area": (False, True)}

_METHODS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "box": cv2.INTER_AREA,
}


def versions() -> Dict[str, str]:
    """OpenCV, and the JPEG library that it was built with."""
    lines = cv2.getBuildInformation().splitlines()
    jpeg = next((line.partition(":")[2] for line in lines if line.strip().startswith("JPEG:")), "")
    return {"opencv": cv2.__version__, "libjpeg": jpeg.strip()}


def start() -> None:
    """Images are prepared side by side, so each is by one thread."""
    cv2.setNumThreads(1)


def decode_and_fit(data: bytes, geometry: Geometry, settings: Mapping[str, Any]) -> np.ndarray:
    """The pixels of an image file: uint8 [height, width, 3].

    Raises:
        ImageError: with the reason why the image can't be used.
    """
    header_of(data)
    flags = cv2.IMREAD_COLOR
    if not settings["exif"]:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        if image is None:
            raise ImageError("OpenCV cannot decode it, and does not say why")
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        height, width = image.shape[:2]
        size = target_size(width, height, geometry)
        if size != (width, height):
            image = cv2.resize(
                image, size, interpolation=_method(width, height, size, geometry, settings)
            )
    except cv2.error as error:
        raise cannot_decode(getattr(error, "err", None) or error) from error
    return crop(image, geometry)


def _method(
    width: int, height: int, size: Tuple[int, int], geometry: Geometry, settings: Mapping[str, Any]
) -> int:
    """INTER_AREA where it was asked for and the image is shrunk, else the geometry's method."""
    shrinks = size[0] <= width and size[1] <= height
    return cv2.INTER_AREA if settings["area"] and shrinks else _METHODS[geometry.interpolation]
