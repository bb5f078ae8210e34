"""torchvision: Pillow's decoder or its own, and its `resize` of Pillow images or of tensors.

By default it is what its datasets and `Resize` do with a file, which is Pillow. With `tensor` it
resizes uint8 tensors, where antialiasing can be left out. Its own decoder is a compiled part that
lacks where torchvision and PyTorch are of different builds.
"""

from __future__ import annotations

import io
from typing import Any, Dict, Mapping, Tuple

import numpy as np
import PIL
import torch
from PIL import Image

from runner.backends.base import unsupported
from runner.prepare_jobs import Geometry
from runner.preprocessors.base import (
    ImageError,
    cannot_decode,
    crop,
    header_of,
    target_size,
)
from runner.preprocessors.pillow import open_image
from runner.support.torch_vision import import_torchvision

torchvision = import_torchvision()

from torchvision.transforms import functional  # noqa: E402

_METHODS = {
    "nearest": "NEAREST",
    "bilinear": "BILINEAR",
    "bicubic": "BICUBIC",
    "lanczos": "LANCZOS",
    "box": "BOX",
}
_TENSOR_METHODS = ("nearest", "bilinear", "bicubic")


def _why_no_decoder() -> str:
    """Why torchvision's own decoder does not work here; empty where it does."""
    try:
        from torchvision.io import decode_image

        pixel = io.BytesIO()
        Image.new("RGB", (1, 1)).save(pixel, "PNG")
        decode_image(torch.tensor(list(pixel.getvalue()), dtype=torch.uint8))
    except (RuntimeError, OSError, AttributeError, ImportError) as error:
        return " ".join(f"torchvision's own decoder does not load here: {error}".split())[:300]
    return ""


_NO_DECODER = _why_no_decoder()
SETTINGS: Dict[str, Tuple[Any, ...]] = {
    "decoder": ("pil",) if _NO_DECODER else ("pil", "torch"),
    "tensor": (False, True),
    "antialias": (True, False),
}
DETAILS = {"decoder": _NO_DECODER} if _NO_DECODER else {}


def versions() -> Dict[str, str]:
    """torchvision, PyTorch, and Pillow that decodes for it."""
    return {
        "torchvision": torchvision.__version__,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
    }


def start() -> None:
    """Images are prepared side by side, so each is by one thread."""
    torch.set_num_threads(1)


def check(geometry: Geometry, settings: Mapping[str, Any]) -> None:
    """Refuse what torchvision can't do.

    Raises:
        RunnerError: kind `unsupported`.
    """
    if settings["tensor"]:
        if geometry.interpolation not in _TENSOR_METHODS:
            why = "of tensors; Pillow images (tensor=false) are resized by all"
            raise unsupported(
                "torchvision", "interpolation", geometry.interpolation, _TENSOR_METHODS, why=why
            )
    elif not settings["antialias"]:
        why = "Pillow always antialiases; with tensor=true it can be left out"
        raise unsupported("torchvision", "value of antialias", False, (True,), why=why)


def decode_and_fit(data: bytes, geometry: Geometry, settings: Mapping[str, Any]) -> np.ndarray:
    """The pixels of an image file: uint8 [height, width, 3].

    Raises:
        ImageError: with the reason why the image can't be used.
    """
    header_of(data)
    image = _decode(data, settings["decoder"])
    try:
        if settings["tensor"] and not isinstance(image, torch.Tensor):
            image = functional.pil_to_tensor(image)
        elif not settings["tensor"] and isinstance(image, torch.Tensor):
            image = functional.to_pil_image(image)
        width, height = _size(image)
        size = target_size(width, height, geometry)
        if size != (width, height):
            method = torchvision.transforms.InterpolationMode[_METHODS[geometry.interpolation]]
            image = functional.resize(
                image, list(size[::-1]), method, antialias=settings["antialias"]
            )
    except ImageError:
        raise
    except Exception as error:
        raise cannot_decode(error) from error
    if isinstance(image, torch.Tensor):
        return crop(image.permute(1, 2, 0).numpy(), geometry)
    return crop(np.asarray(image, dtype=np.uint8), geometry)


def _decode(data: bytes, decoder: str) -> Any:
    """A Pillow image, or a uint8 tensor [3, H, W] by torchvision's own decoder."""
    if decoder == "pil":
        image = open_image(data)
        try:
            return image.convert("RGB")
        except Exception as error:
            raise cannot_decode(error) from error
    from torchvision.io import ImageReadMode, decode_image

    try:
        bytes_ = torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())
        decoded = decode_image(bytes_, mode=ImageReadMode.RGB)
    except Exception as error:
        raise cannot_decode(error) from error
    if decoded.dtype != torch.uint8 or decoded.ndim != 3:
        kind = str(decoded.dtype).replace("torch.", "")
        raise ImageError(f"torchvision decodes it to {kind} {list(decoded.shape)}, not uint8 RGB")
    return decoded


def _size(image: Any) -> Tuple[int, int]:
    """Width and height."""
    if isinstance(image, torch.Tensor):
        return int(image.shape[2]), int(image.shape[1])
    return int(image.width), int(image.height)
