"""The converter `onnx>onnx:onnxoptimizer`: an ONNX file rewritten by the passes of ONNX's optimiser.

Options: `passes`, those that alone run, in this order; `disabled_passes`, those of its own that do not;
without them the fusing and eliminating ones, which is what one gets unasked. `batch` (default 1) and
`item_shape`, the shape of one input, for a model that leaves more than the batch open: it is checked
with these. Each pass runs once over the graph. A name that the tool does not have is refused before it
is started, with near ones.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

import onnxoptimizer

from runner.jobs import ConvertJob
from runner.support import onnx_optimising, onnx_steps

_NAME = "onnx>onnx:onnxoptimizer"

OPTIONS = onnx_optimising.OPTIONS
"""What a job may say."""

LATE_IMPORTS = (onnx_steps.import_onnxruntime,)
"""What is imported only when a model is converted, for a probe to try."""


def passes() -> Dict[str, Tuple[str, ...]]:
    """Every pass by name, and those that run unasked."""
    return {
        "all": tuple(onnxoptimizer.get_available_passes()),
        "unasked": tuple(onnxoptimizer.get_fuse_and_elimination_passes()),
    }


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the source on a seeded input, both by ONNX
    Runtime. `graph` says whether what the model computes is another, and how many operators it has.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the source can't be read; `conversion`
            if a pass fails or what was made is not valid or not finite.
    """
    there = passes()
    chosen = onnx_optimising.chosen(job, _NAME, there["all"], there["unasked"])
    packages = ("onnxoptimizer", *onnx_steps.PACKAGES)
    return onnx_optimising.optimise(job, _NAME, chosen, _run, packages)


def _run(model: Any, chosen: Tuple[str, ...]) -> Any:
    return onnxoptimizer.optimize(model, list(chosen))
