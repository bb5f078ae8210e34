"""The converter `onnx>onnx:onnxsim`: an ONNX file simplified by ONNX Simplifier.

Options: `passes`, those that alone run; `disabled_passes`, those that do not; without them all, which
is what one gets unasked. The passes are those of the optimiser that it brings, and the two steps of its
own: `constant_folding` and `shape_inference`. They run until nothing changes, in the tool's own order,
whatever the order asked for. `batch` (default 1) and `item_shape`, the shape of one input, for a model
that leaves more than the batch open: it is checked with these.

The tool ignores the name of a pass to leave out that it does not know, so names are checked here.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

import onnxsim
from onnxsim import onnxsim_cpp2py_export as library

from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import onnx_optimising, onnx_steps

_NAME = "onnx>onnx:onnxsim"
_FOLDING, _SHAPES = "constant_folding", "shape_inference"

OPTIONS = onnx_optimising.OPTIONS
"""What a job may say."""

LATE_IMPORTS = (onnx_steps.import_onnxruntime,)
"""What is imported only when a model is converted, for a probe to try."""


def passes() -> Dict[str, Tuple[str, ...]]:
    """Every pass by name, and those that run unasked, which are the same."""
    there = (*library._list_optimizers(), _FOLDING, _SHAPES)  # noqa: SLF001 (no public way to ask)
    return {"all": there, "unasked": there}


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the source on a seeded input, both by ONNX
    Runtime. `graph` says whether what the model computes is another, and how many operators it has.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the source can't be read; `conversion`
            if a pass fails or what was made is not valid or not finite.
    """
    there = passes()
    asked = onnx_optimising.chosen(job, _NAME, there["all"], there["unasked"])
    kept = tuple(name for name in there["all"] if name in asked)
    packages = ("onnxsim", *onnx_steps.PACKAGES)
    return onnx_optimising.optimise(job, _NAME, kept, _run, packages)


def _run(model: Any, kept: Tuple[str, ...]) -> Any:
    optimisers = [name for name in passes()["all"] if name not in (_FOLDING, _SHAPES)]
    simplified, valid = onnxsim.simplify(
        model,
        perform_optimization=any(name in kept for name in optimisers),
        skipped_optimizers=[name for name in optimisers if name not in kept],
        skip_constant_folding=_FOLDING not in kept,
        skip_shape_inference=_SHAPES not in kept,
    )
    if not valid:
        message = f"{_NAME}: ONNX Simplifier itself says that what it made is not right"
        raise RunnerError("conversion", message)
    return simplified
