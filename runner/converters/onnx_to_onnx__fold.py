"""The converter `onnx>onnx:fold`: what does not depend on the input is computed once, and stays.

By ONNX Runtime's basic optimisations, which stay within ONNX's own operators: constants are folded,
what does nothing is dropped, and batch normalisation and the like go into the weights before them.
Options: `folding` = true, which is what the step is; `batch` (default 1) and `item_shape`, the shape
of one input, for a model that leaves more than the batch open: it is checked with these. What the
model leaves open stays open.
"""

from __future__ import annotations

from typing import Any, Dict

import onnx

from runner.backends.base import unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, onnx_steps

_NAME = "onnx>onnx:fold"

OPTIONS = (*conversion.OPTIONS, "folding")
"""What a job may say."""

LATE_IMPORTS = (onnx_steps.import_onnxruntime,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the source on a seeded input, both by ONNX
    Runtime.

    Raises:
        RunnerError: `unsupported` for the request, or an opset or operator that ONNX Runtime does not
            know; `model` if the source can't be read; `conversion` if what was made is not valid,
            not portable or not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    if job.options.get("folding", True) is not True:
        why = "folding is what this step does: leave the step away"
        raise unsupported(_NAME, "folding", job.options["folding"], (True,), why=why)
    source = conversion.read_onnx(job, _NAME)
    fed = conversion.seeded_input(source, batch, item_shape, _NAME)
    with conversion.written(job.target, ".onnx") as part:
        options = onnx_steps.basic_options(job.threads)
        options.optimized_model_filepath = part
        onnx_steps.open_session(job.source, options)
        model = _read_back(part)
        onnx_steps.make_portable(model, source, _NAME)
        onnx_steps.save(model, part, _NAME)
        difference = onnx_steps.difference(job, part, source, fed)
    before, after = len(source.graph.node), len(model.graph.node)
    print(f"runner: {_NAME}: {before} nodes became {after}", flush=True)
    return conversion.converted(job.target, onnx_steps.PACKAGES, difference)


def _read_back(path: str) -> Any:
    try:
        return onnx.load(path)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{_NAME}: ONNX Runtime left no readable model: {failed.message}"
        raise RunnerError("conversion", message, failed.detail) from error
