"""The converter `onnx>onnx:opset`: the same model in another version of ONNX's operators.

By ONNX's own version converter. Options: `opset`, which must be said; `batch` (default 1) and
`item_shape`, the shape of one input, for a model that leaves more than the batch open: it is checked
with these. What the model leaves open stays open.

The version of the file format (IR) becomes the oldest that has this opset, so that stacks of its time
read the file. Raising works for nearly all models; lowering for few, as ONNX has adapters downwards
for some operators only.
"""

from __future__ import annotations

import re
from typing import Any, Dict

import onnx
from onnx import version_converter

from runner.backends.base import unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, onnx_model, onnx_steps

_NAME = "onnx>onnx:opset"
_OLDEST_IR = 4
"""Older files must list their weights among the inputs."""
_LACKING = re.compile(
    r"No (?:Adapter|Previous Version|Schema|adapter)[^\n]*|[^\n]*nsupported[^\n]*"
)

OPTIONS = (*conversion.OPTIONS, "opset")
"""What a job may say."""

LATE_IMPORTS = (onnx_steps.import_onnxruntime,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the source on a seeded input, both by ONNX
    Runtime, or by ONNX's reference evaluator where it is too old for one of them.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that has no such version; `model`
            if the source can't be read; `conversion` if what was made is not valid or not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    known = range(onnx_model.OLDEST_OPSET, onnx.defs.onnx_opset_version() + 1)
    allowed = f"{known[0]} to {known[-1]}"
    if "opset" not in job.options:
        why = "the step is to change it: say which"
        raise unsupported(_NAME, "opset", None, (allowed,), why=why)
    opset = conversion.opset_of(job, _NAME, known, known[-1])
    source = conversion.read_onnx(job, _NAME)
    fed = conversion.seeded_input(source, batch, item_shape, _NAME)
    model = _at(source, opset)
    with conversion.written(job.target, ".onnx") as part:
        onnx_steps.make_portable(model, source, _NAME)
        onnx_steps.save(model, part, _NAME)
        difference = onnx_steps.difference(job, part, source, fed, written=model)
    return conversion.converted(job.target, onnx_steps.PACKAGES, difference)


def _at(source: Any, opset: int) -> Any:
    before = onnx_model.supported_opset(source, _NAME)
    try:
        model = version_converter.convert_version(source, opset)
    except Exception as error:
        text = " ".join(str(error).split())
        lacking = _LACKING.search(text)
        failed = classify(error, "conversion")
        words = lacking.group() if lacking else failed.message
        remedy = "export the model anew with that opset"
        if "for Identity" in words:
            remedy = "put the step onnx>onnx:fold before this one, which drops what does nothing"
        raise RunnerError(
            "unsupported" if lacking else "conversion",
            f"{_NAME}: ONNX's version converter can't take this model from opset {before} to "
            f"{opset}: {words}; {remedy}",
            failed.detail,
        ) from error
    if onnx_model.opset(model) != opset:
        message = f"{_NAME}: asked for opset {opset} and got {onnx_model.opset(model)}"
        raise RunnerError("conversion", message)
    needed = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = max(needed, _OLDEST_IR)
    return model
