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
    weights_file,
    weights_folded,
    weights_request,
)

_NAME = "weights>torch"
_PACKAGES = ("torch", "torchvision", "timm", "numpy")

LATE_IMPORTS = (torch_vision.import_torchvision, torch_vision.import_timm)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the weights can't be read or do not
            fit; `conversion` if the export fails or an output is not finite.
    """
    request = weights_request.read_request(job, _NAME)
    torch.set_num_threads(job.threads)
    arrays = weights_file.read(job.source)
    architecture = request.architecture
    library = torch_architecture.library_of(architecture, request.library, tuple(arrays))
    classes = weights_folded.classes_of(arrays, architecture)
    module = torch_architecture.build(
        architecture, library, classes, request.item_shape, request.variant
    )
    torch_architecture.transplant(module, arrays, architecture)
    del arrays
    fed = request.seeded_input()
    program = torch_architecture.export(module, fed)
    with torch.inference_mode():
        expected = module(torch.from_numpy(fed)).numpy()
    with conversion.written(job.target, ".pt2") as part:
        torch.export.save(program, part)
        del program, module
        got = _run(part, fed)
        conversion.check_finite(got)
        difference = conversion.largest_difference([expected], got)
    packages = [name for name in _PACKAGES if name != "timm" or library == "timm"]
    return conversion.converted(job.target, packages, difference)


def _run(path: str, fed: np.ndarray) -> List[np.ndarray]:
    module = torch.export.load(path).module()
    with torch.inference_mode():
        return [module(torch.from_numpy(fed)).numpy()]
