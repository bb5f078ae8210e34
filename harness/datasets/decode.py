"""One image file to one array of pixels, by Pillow.

Sizes are torchvision's (`Resize`, Pillow backend). The crop is centred and begins at the lower
whole pixel where the margin is odd; torchvision's rounds halves to even, so that every second
odd margin differs by one pixel.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from harness.datasets.damage import ImageError, check_whole, what_else
from harness.datasets.recipes import Geometry

__all__ = ["MAX_PIXELS", "ImageError", "decoder_versions", "image_pixels", "resized_size"]

RESIZER = "torchvision-size pillow-resize floor-crop 1"
"""Changes whenever the same decoded image would give other pixels."""

MAX_PIXELS = 89_478_485
"""Larger images are left out: a small file can unfold to any size."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def decoder_versions() -> dict[str, str | None]:
    """What prepared pixels depend on besides the image and the geometry."""
    return {
        "pillow": PIL.__version__,
        "libjpeg": features.version_feature("libjpeg_turbo") or features.version_codec("jpg"),
        "webp": features.version_module("webp"),
        "resizer": RESIZER,
    }


def image_pixels(path: Path, geometry: Geometry) -> NDArray[np.uint8]:
    """Decode, resize and crop: RGB, uint8 [height, width, 3].

    The first frame counts; transparency, colour profiles and the EXIF orientation do not (as in
    torchvision's loader; of a TIFF Pillow itself applies the orientation). 16-bit greyscale is
    scaled to 8 bits, CMYK of a JPEG is taken as inverted, as Adobe writes it. The content decides
    the format, not the name.

    Raises:
        ImageError: with the reason why the image cannot be used.
    """
    try:
        if path.stat().st_size == 0:
            raise ImageError("the file is empty")  # noqa: TRY301 - beside the other reasons
        check_whole(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                return _fit(_rgb(image), geometry)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"it has more than {MAX_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"it is {what_else(path)}") from error
    except MemoryError as error:
        raise ImageError("there is not enough memory to decode it") from error
    # On corrupt bytes Pillow's readers raise almost anything; the reason is recorded.
    except Exception as error:
        text = str(error).replace(str(path), path.name) or type(error).__name__
        raise ImageError(f"it cannot be decoded: {text}") from error


def _rgb(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"it has more than {MAX_PIXELS} pixels")
    if image.mode == "RGB":
        image.load()
        return image
    # Older Pillow opens a 16-bit PNG as I; of other files nobody knows what 32 bits range over.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return _from_16_bits(image)
    if image.mode == "I":
        raise ImageError("its values are 32-bit integers, with no known range")
    if image.mode == "F":
        raise ImageError("its values are floating point, with no known range")
    if image.mode in {"P", "PA", "LA", "La", "RGBa"}:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ImageError("its values have more than 16 bits, with no known range")
    grey = (values * 255 + 32767) // 65535
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _fit(image: Image.Image, geometry: Geometry) -> NDArray[np.uint8]:
    width, height = resized_size(image.width, image.height, geometry)
    if width * height > MAX_PIXELS:
        raise ImageError(f"it is too long and narrow: {image.width} x {image.height} pixels")
    if (width, height) != image.size:
        image = image.resize((width, height), _METHODS[geometry.interpolation])
    left = (width - geometry.width) // 2
    top = (height - geometry.height) // 2
    cropped = image.crop((left, top, left + geometry.width, top + geometry.height))
    return np.asarray(cropped, dtype=np.uint8)


def resized_size(width: int, height: int, geometry: Geometry) -> tuple[int, int]:
    """Width and height after resizing, before the crop.

    Squashed, it is the input's own. Else the side that limits gets the geometry's size, the other int(size * other / side): for square
    inputs the rule of torchvision's `Resize(size)`.
    """
    if geometry.squash:
        return geometry.width, geometry.height
    if geometry.resize_height * width >= geometry.resize_width * height:
        return int(geometry.resize_height * width / height), geometry.resize_height
    return geometry.resize_width, int(geometry.resize_width * height / width)
