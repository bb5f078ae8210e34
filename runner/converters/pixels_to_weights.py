"""The converter `pixels>weights`: seeded weights for an architecture, fitted on prepared images.

Options: `architecture`, `seed`, `classes`, `variant` (that the weights are to be fitted for),
`normalise` (`channels`, `divide`, `subtract`, `divide_after`) and `batch` (how many images at a
time, by default 16). The target is an `.npz` with the canonical names. It always uses one thread,
so that the same job gives the same bytes on one machine.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Dict, Iterator, Tuple, Union

import numpy as np
import torch

from runner.architectures import find
from runner.errors import RunnerError
from runner.inputs import normalise
from runner.jobs import ConvertJob, Normalise
from runner.support import (
    conversion,
    npy_rows,
    torch_architecture,
    torch_seeding,
    torch_vision,
    weights_request,
    weights_writer,
)

_NAME = "pixels>weights"
_PACKAGES = ("torch", "torchvision", "timm", "numpy")
_OPTIONS = ("architecture", "seed", "classes", "variant", "normalise", "batch")
_CHANNELS = ("rgb", "bgr")
_STEPS = ("channels", "divide", "subtract", "divide_after")
_BATCH = 16
_NORM_IMAGES = 64
"""Enough for statistics of single channels, which have a value at every position of an image."""

_FEWEST = 2
"""Images of a batch: a batch norm measures no variance on a single value. And classes."""

LATE_IMPORTS = (torch_vision.import_torchvision,)
"""What is imported only when a model is converted, for a probe to try; timm is needed for what
torchvision has not, and refused by name where it is not there."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    How the labels spread is written on standard error.

    Raises:
        RunnerError: `unsupported` for the request, also where the images are too small for the
            architecture; `job` for a bad value or unreadable pixels;
            `conversion` if the weights don't come out finite.
    """
    options = _checked(job)
    architecture = find(options["architecture"])
    seed, classes = options["seed"], options["classes"]
    torch.set_num_threads(1)
    rows = npy_rows.load_pixels(job.source, _FEWEST)
    _, height, width, _ = rows.shape
    shape = (3, int(height), int(width))
    how, size = _normalise(options["normalise"]), options["batch"]

    def batches(some: np.ndarray) -> Iterator[np.ndarray]:
        for batch in npy_rows.evenly(some, size, _FEWEST):
            real = normalise(batch, how)
            yield np.ascontiguousarray(real.transpose(0, 3, 1, 2))

    library = torch_architecture.library_of(architecture, None)
    module = torch_architecture.build(
        architecture, library, classes, shape, weights_request.variant_of(options, _NAME)
    )
    drawn = {
        name: torch_seeding.initial_array(seed, name, shape)
        for name, shape in torch_architecture.shapes(module, architecture).items()
    }
    torch_architecture.transplant(module, drawn, architecture)
    del drawn
    torch_architecture.tried(module, architecture, next(batches(rows)))
    norms = torch_seeding.fit_batch_norms(module, lambda: batches(rows[:: _every(rows)]))
    told = torch_seeding.fit_head(module, architecture, lambda: batches(rows), seed)
    said = ", ".join(f"{key} {value}" for key, value in told.items())
    print(f"runner: seeded {architecture.name}: {norms} batch norms, {said}", file=sys.stderr)
    arrays = torch_architecture.arrays_of(module, architecture)
    conversion.check_finite(list(arrays.values()))
    with conversion.written(job.target) as part:
        weights_writer.write_npz(part, arrays)
    packages = [name for name in _PACKAGES if name != "timm" or library == "timm"]
    return conversion.converted(job.target, packages, None)


def _every(rows: np.ndarray) -> int:
    return max(len(rows) // _NORM_IMAGES, 1)


def _checked(job: ConvertJob) -> Dict[str, Any]:
    conversion.require_format(job, _NAME, "pixels")
    conversion.require_options(job, _NAME, _OPTIONS)
    options = {"seed": 0, "batch": _BATCH, "variant": {}, **job.options}
    for option in ("architecture", "classes", "normalise"):
        if option not in options:
            raise RunnerError("job", f"{_NAME}: the option {option} is missing")
    weights_request.positive(options["batch"], "batch", _NAME)
    if weights_request.positive(options["classes"], "classes", _NAME) < _FEWEST:
        raise RunnerError("job", f"{_NAME}: classes must be at least {_FEWEST}")
    seed = options["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise RunnerError("job", f"{_NAME}: seed must be an integer of at least 0")
    return options


def _normalise(document: Any) -> Normalise:
    if not isinstance(document, dict) or sorted(document) != sorted(_STEPS):
        raise RunnerError("job", f"{_NAME}: normalise must have exactly {', '.join(_STEPS)}")
    channels = document["channels"]
    if channels not in _CHANNELS:
        message = f"{_NAME}: normalise.channels must be rgb or bgr, not {channels!r}"
        raise RunnerError("job", message)
    return Normalise(channels, *(_per_channel(document[step], step) for step in _STEPS[1:]))


def _per_channel(value: Any, step: str) -> Union[float, Tuple[float, ...]]:
    sizes = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in sizes)
    fits = len(sizes) in (1, 3) and numbers and all(math.isfinite(size) for size in sizes)
    if not fits or (step != "subtract" and 0 in sizes):
        wanted = "a finite number or three" + ("" if step == "subtract" else ", none of them 0")
        raise RunnerError("job", f"{_NAME}: normalise.{step} is {value!r} and must be {wanted}")
    real = tuple(float(size) for size in sizes)
    return real if len(real) == 3 else real[0]
