"""A library's own PyTorch module of an architecture, and a weights file's arrays put into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch

from runner.architectures import Architecture, effective
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    torch_variants,
    torch_vision,
    weights_file,
    weights_folded,
    weights_request,
)
from runner.support.weights_request import Request

_COUNTER = "num_batches_tracked"
_SQUARE = ("vit_b_16",)
"""Their module is made for one size of image."""
_PATCH = 16


@dataclass(frozen=True)
class Filled:
    """A library's module with a file's weights, and what it answers.

    `fed` is a seeded input, float32 [batch, 3, height, width]; `answers` are the logits
    [batch, classes] for it.
    """

    module: Any
    library: str
    fed: np.ndarray
    answers: np.ndarray


def of_request(job: ConvertJob, request: Request, name: str) -> Filled:
    """The module that a job asks for, with the weights of its source, tried once.

    Args:
        job: a conversion from weights; its threads become PyTorch's.
        request: the job's options, read.
        name: the converter's, for messages.

    Raises:
        RunnerError: kind `unsupported` for the library, variant or size; `model` if the weights
            can't be read, do not fit, or give answers that are not finite.
    """
    torch.set_num_threads(job.threads)
    arrays = weights_file.read(job.source)
    architecture = request.architecture
    library = library_of(architecture, request.library, tuple(arrays))
    classes = weights_folded.classes_of(arrays, architecture)
    module = build(architecture, library, classes, request.item_shape, request.variant)
    transplant(module, arrays, architecture)
    fed = request.seeded_input()
    answers = tried(module, architecture, fed)
    weights_request.require_finite([answers], name)
    return Filled(module, library, fed, answers)


def tried(module: Any, architecture: Architecture, fed: np.ndarray) -> np.ndarray:
    """What the module answers.

    Args:
        module: of the architecture, with arrays that fit it.
        architecture: the module's.
        fed: float32 [batch, 3, height, width].

    Raises:
        RunnerError: kind `unsupported`, if the images are too small for it.
    """
    try:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(fed)).numpy())
    except Exception as error:
        # Weights that fit leave nothing but memory and the size of the images to fail.
        failed = classify(error, "unsupported")
        height, width = fed.shape[2:]
        message = (
            f"{architecture.name} can't take images of {height}x{width} pixels; it was made for "
            f"{architecture.size}x{architecture.size}: {failed.message}"
        )
        raise RunnerError(failed.kind, message, failed.detail) from error


def library_of(architecture: Architecture, asked: Optional[str], names: Sequence[str] = ()) -> str:
    """The library whose module it is to be: the one asked for, else the one the names belong to.

    Args:
        architecture: the network's.
        asked: one of the architecture's libraries, or None.
        names: of the arrays, as the file has them. Where both libraries use the same names, the
            architecture's canonical library is taken.
    """
    if asked is not None:
        return asked
    return "timm" if architecture.timm_only in names else architecture.library


def build(
    architecture: Architecture,
    library: str,
    classes: int,
    item_shape: Tuple[int, int, int],
    variant: Mapping[str, Any],
) -> Any:
    """The module, without weights of its own: eval mode, no gradients, one output, the logits.

    Args:
        architecture: the network's.
        library: `torchvision` or `timm`.
        classes: the number of logits.
        item_shape: [3, height, width] of an image.
        variant: what is to differ from the library's own; checked here.

    Raises:
        RunnerError: kind `unsupported` for a variant that does not apply, a library that is not
            installed, or a size that the architecture can't take.
    """
    values = effective(architecture, variant, library)
    options: Dict[str, Any] = {"num_classes": classes}
    if architecture.name in _SQUARE:
        _, height, width = item_shape
        if height != width or height % _PATCH:
            message = (
                f"{architecture.name} takes square images whose side {_PATCH} divides, "
                f"not {height}x{width}"
            )
            raise RunnerError("unsupported", message)
        options["img_size" if library == "timm" else "image_size"] = height
    try:
        module = _native(architecture, library, options)
    except ImportError as error:
        message = f"{architecture.name} needs {library}, which does not import here: {error}"
        raise RunnerError("unsupported", message) from error
    module = module.eval().requires_grad_(requires_grad=False)
    torch_variants.apply(module, {key: values[key] for key in variant})
    return module


def epsilon_of(module: Any) -> float:
    """Of the module's batch norms; they have one in common. PyTorch's default where it has none."""
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    return float(norms[0].eps) if norms else 1e-5


def shapes(module: Any, architecture: Architecture) -> Dict[str, Tuple[int, ...]]:
    """The arrays that the module needs: canonical name to shape."""
    return {
        architecture.alias(name): tuple(value.shape)
        for name, value in module.state_dict().items()
        if not name.endswith(_COUNTER)
    }


def transplant(module: Any, arrays: Mapping[str, np.ndarray], architecture: Architecture) -> None:
    """Put the arrays into the module.

    Raises:
        RunnerError: kind `model`, if they do not fit; see `weights_folded.complete`.
    """
    expected = shapes(module, architecture)
    fitted = weights_folded.complete(arrays, expected, architecture, epsilon_of(module))
    state = module.state_dict()
    for name in state:
        if not name.endswith(_COUNTER):
            state[name] = torch.from_numpy(fitted[architecture.alias(name)])
    module.load_state_dict(state)


def arrays_of(module: Any, architecture: Architecture) -> Dict[str, np.ndarray]:
    """The module's arrays by their canonical names, float32."""
    return {
        architecture.alias(name): value.numpy()
        for name, value in module.state_dict().items()
        if not name.endswith(_COUNTER)
    }


def export(module: Any, fed: np.ndarray) -> Any:
    """The module as a `torch.export.ExportedProgram` for inputs of exactly this shape.

    Raises:
        RunnerError: kind `conversion`, if PyTorch can't.
    """
    try:
        with torch.no_grad():
            return torch.export.export(module, (torch.from_numpy(fed),))
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"torch.export fails for inputs {list(fed.shape)}: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def _native(architecture: Architecture, library: str, options: Dict[str, Any]) -> Any:
    if library == "timm":
        create = torch_vision.import_timm().create_model
        return create(architecture.timm, pretrained=False, **options)
    models = torch_vision.import_torchvision().models
    if architecture.name == "inception_v3":
        # The second output is for training, and the transform is a recipe's business.
        options.update(aux_logits=False, transform_input=False, init_weights=False)
    return getattr(models, architecture.builder)(weights=None, **options)
