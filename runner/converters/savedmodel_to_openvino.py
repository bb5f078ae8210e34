"""The converter `savedmodel>openvino`: a SavedModel of TensorFlow to OpenVINO's own format, float32.

Options: `batch` and `item_shape`, where the model leaves them open; `layout` = nchw | nhwc, of the input (by
default the source's); `quantisation` = float16 (weights are stored as float16).
The batch stays open where the source leaves it open.
"""

from __future__ import annotations

import os
from typing import Any, Dict

from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import conversion, openvino_convert

_NAME = "savedmodel>openvino"
OPTIONS = openvino_convert.OPTIONS

LATE_IMPORTS = (openvino_convert.import_openvino,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`, a folder; the fields of the event `converted`.

    No difference to the source is told: nothing here runs a SavedModel by itself.

    Raises:
        RunnerError: `unsupported` for the request, or operators that OpenVINO does not know;
            `model` if the source can't be read; `conversion` if what was made does not run, or an
            output is not finite.
    """
    conversion.require_format(job, _NAME, "savedmodel")
    if not os.path.isfile(os.path.join(job.source, "saved_model.pb")):
        message = f"{job.source} is no SavedModel: give the folder that holds saved_model.pb"
        raise RunnerError("model", message)
    return openvino_convert.convert(job, _NAME, job.source)
