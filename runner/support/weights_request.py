"""What a job asks of a converter from weights: the architecture, its variant, the input's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from runner.architectures import Architecture, find
from runner.backends.base import unsupported
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import conversion

OPTIONS = ("architecture", "variant", "library", "batch", "item_shape")
LIBRARIES = ("torchvision", "timm")
_PROBE_SEED = 0


@dataclass(frozen=True)
class Request:
    """`item_shape` is [3, height, width]; `variant` is as the job says it, not yet checked.

    `library` is one that has the architecture, or None.
    """

    architecture: Architecture
    variant: Dict[str, Any]
    library: Optional[str]
    batch: int
    item_shape: Tuple[int, int, int]

    def seeded_input(self) -> np.ndarray:
        """Standard normal, float32 [batch, 3, height, width]."""
        generator = np.random.Generator(np.random.PCG64(_PROBE_SEED))
        return generator.standard_normal((self.batch, *self.item_shape), dtype=np.float32)


def read_request(job: ConvertJob, name: str, formats: Sequence[str] = ("weights",)) -> Request:
    """The options of a converter from weights.

    Args:
        job: the conversion.
        name: the converter's.
        formats: the source formats that it reads.

    Raises:
        RunnerError: kind `unsupported` for another source format, an unknown option or
            architecture, or a library that does not have it; `job` for a bad value.
    """
    conversion.require_format(job, name, *formats)
    options = job.options
    conversion.require_options(job, name, OPTIONS)
    if "architecture" not in options:
        message = f"{name}: the option architecture is missing: weights alone do not say what runs"
        raise RunnerError("job", message)
    architecture = find(options["architecture"])
    size = architecture.size
    batch = options.get("batch", 1)
    return Request(
        architecture=architecture,
        variant=variant_of(options, name),
        library=_library(options.get("library"), architecture, job.source_format, name),
        batch=positive(batch, "batch", name),
        item_shape=_item_shape(options.get("item_shape") or (3, size, size), name),
    )


def variant_of(options: Dict[str, Any], name: str) -> Dict[str, Any]:
    """The option `variant`; empty where it is absent.

    Raises:
        RunnerError: kind `job`, if it is no mapping.
    """
    variant = options.get("variant") or {}
    if not isinstance(variant, dict):
        raise RunnerError("job", f"{name}: variant must be a mapping, not {variant!r}")
    return variant


def positive(value: Any, option: str, name: str) -> int:
    """The value, an integer of at least 1.

    Raises:
        RunnerError: kind `job`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RunnerError("job", f"{name}: {option} must be an integer of at least 1")
    return value


def require_finite(answers: Sequence[np.ndarray], name: str) -> None:
    """Refuse a model that gives NaN or infinity before anything has converted it.

    Raises:
        RunnerError: kind `model`.
    """
    if any(answer.dtype.kind == "f" and not np.isfinite(answer).all() for answer in answers):
        raise RunnerError(
            "model",
            f"{name}: the model gives NaN or infinity on a seeded input before it is converted: "
            "its weights are damaged or make no sense",
        )


def _library(
    asked: Any, architecture: Architecture, source_format: str, name: str
) -> Optional[str]:
    if asked is None:
        return None
    if asked not in LIBRARIES:
        raise unsupported(name, "library", str(asked), LIBRARIES)
    if source_format != "weights":
        message = f"{name}: the option library is for PyTorch's names, and Keras's files have none"
        raise RunnerError("unsupported", message)
    if asked not in architecture.libraries:
        message = f"{asked} has no {architecture.name}; {architecture.library} does"
        raise RunnerError("unsupported", message)
    return str(asked)


def _item_shape(value: Any, name: str) -> Tuple[int, int, int]:
    if not isinstance(value, (list, tuple)):
        raise RunnerError("job", f"{name}: item_shape must be a list, not {value!r}")
    sizes = [positive(size, "each size of item_shape", name) for size in value]
    if len(sizes) != 3 or sizes[0] != 3:
        message = f"{name}: item_shape is {sizes} and must be [3, height, width]"
        raise RunnerError("unsupported", message)
    return sizes[0], sizes[1], sizes[2]
