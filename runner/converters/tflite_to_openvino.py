"""The converter `tflite>openvino`: a TensorFlow Lite file to OpenVINO's own format, float32.

Options: `batch` and `item_shape`, which must be the file's own; `layout` = nchw | nhwc, of the input (by
default the source's); `quantisation` = float16 (weights are stored as float16).
The batch stays open where the source leaves it open.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.backends.base import require_file
from runner.jobs import ConvertJob
from runner.support import conversion, openvino_convert

_NAME = "tflite>openvino"
OPTIONS = openvino_convert.OPTIONS

LATE_IMPORTS = (openvino_convert.import_openvino,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`, a folder; the fields of the event `converted`.

    No difference to the source is told: nothing here runs a TensorFlow Lite file by itself.

    Raises:
        RunnerError: `unsupported` for the request, or operators that OpenVINO does not know;
            `model` if the source can't be read; `conversion` if what was made does not run, or an
            output is not finite.
    """
    conversion.require_format(job, _NAME, "tflite")
    require_file(job.source)
    return openvino_convert.convert(job, _NAME, job.source)
