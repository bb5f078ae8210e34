"""Pillow as it is used by hand: `Image.open(…).convert("RGB").resize(…)`.

It always antialiases. `draft` lets the JPEG decoder shrink while it decodes, as `thumbnail` does;
`reducing_gap` lets `resize` shrink by whole factors first.
"""

from __future__ import annotations

import io
from typing import Any, Dict, Mapping, Tuple

import numpy as np
import PIL
from PIL import Image, features

from runner.prepare_jobs import Geometry
from runner.preprocessors.base import (
    MAX_PIXELS,
    ImageError,
    cannot_decode,
    crop,
    header_of,
    target_size,
)

SETTINGS: Dict[str, Tuple[Any, ...]] = {
    "draft": (False, True),
    "reducing_gap": ("none", 2.0, 3.0),
}

# Pillow knows formats that start other programs; these are those of the orchestrator.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
# Older than Image.Resampling, and still there.
_METHODS = {
    "nearest": Image.NEAREST,
    "bilinear": Image.BILINEAR,
    "bicubic": Image.BICUBIC,
    "lanczos": Image.LANCZOS,
    "box": Image.BOX,
}


def versions() -> Dict[str, str]:
    """Pillow, and the JPEG library in it."""
    jpeg = features.version_feature("libjpeg_turbo") or features.version_codec("jpg") or ""
    return {"pillow": PIL.__version__, "libjpeg": jpeg}


def decode_and_fit(data: bytes, geometry: Geometry, settings: Mapping[str, Any]) -> np.ndarray:
    """The pixels of an image file: uint8 [height, width, 3].

    Raises:
        ImageError: with the reason why the image can't be used.
    """
    header_of(data)
    image = open_image(data)
    try:
        width, height = target_size(image.width, image.height, geometry)
        if settings["draft"]:
            image.draft("RGB", (width, height))
        image = image.convert("RGB")
        if image.size != (width, height):
            gap = None if settings["reducing_gap"] == "none" else settings["reducing_gap"]
            method = _METHODS[geometry.interpolation]
            image = image.resize((width, height), method, reducing_gap=gap)
        return crop(np.asarray(image, dtype=np.uint8), geometry)
    except ImageError:
        raise
    # On corrupt bytes Pillow's readers raise almost anything; the reason is recorded.
    except Exception as error:
        raise cannot_decode(error) from error


def open_image(data: bytes) -> Image.Image:
    """An image whose header is read and whose pixels are not.

    Raises:
        ImageError: it is none of the known formats, or has too many pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ImageError("it is not an image in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"it has more than {MAX_PIXELS} pixels") from error
    except Exception as error:
        raise cannot_decode(error) from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"it has more than {MAX_PIXELS} pixels")
    return image
