"""The converter `weights>torch`: named arrays into a library's own module, exported (`.pt2`).

The module is torchvision's or timm's, changed where the option `variant` says so; then
`torch.export` with a fixed batch. Options: `architecture`, `variant`, `library` (by default the
one that the arrays' names belong to), `batch` (default 1) and `item_shape` ([3, height, width];
by default what the architecture was designed for). The recorded difference is the exported
program's to the module it was made from.
"""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
import torch

from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    torch_architecture,
    torch_vision,
    weights_request,
)

_NAME = "weights>torch"
_PACKAGES = ("torch", "torchvision", "timm", "numpy")

LATE_IMPORTS = (torch_vision.import_torchvision,)
"""What is imported only when a model is converted, for a probe to try; timm is needed for what
torchvision has not, and refused by name where it is not there."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the weights can't be read, do not
            fit or make no sense; `conversion` if the export fails or its output is not finite.
    """
    request = weights_request.read_request(job, _NAME)
    filled = torch_architecture.of_request(job, request, _NAME)
    program = torch_architecture.export(filled.module, filled.fed)
    with conversion.written(job.target, ".pt2") as part:
        torch.export.save(program, part)
        del program
        got = _run(part, filled.fed)
        conversion.check_finite(got)
        difference = conversion.largest_difference([filled.answers], got)
    packages = [name for name in _PACKAGES if name != "timm" or filled.library == "timm"]
    return conversion.converted(job.target, packages, difference)


def _run(path: str, fed: np.ndarray) -> List[np.ndarray]:
    module = torch.export.load(path).module()
    with torch.inference_mode():
        return [module(torch.from_numpy(fed)).numpy()]
