"""The converter `onnx>openvino`: an ONNX model to OpenVINO's own format, float32.

Options: `batch` and `item_shape`, where the model leaves them open; `layout` = nchw | nhwc, of the
input (by default the source's); `quantisation` = float16 (weights are stored as float16).
The batch stays open where the source leaves it open. The recorded difference is to ONNX's own
reference evaluator, where the package onnx is installed.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Dict, Optional, Sequence

import numpy as np

from runner.backends.base import require_file
from runner.jobs import ConvertJob
from runner.support import conversion, openvino_convert

_NAME = "onnx>openvino"
OPTIONS = openvino_convert.OPTIONS

LATE_IMPORTS = (openvino_convert.import_openvino,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`, a folder; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or operators that OpenVINO does not know;
            `model` if the source can't be read; `conversion` if what was made does not run, or an
            output is not finite.
    """
    conversion.require_format(job, _NAME, "onnx")
    require_file(job.source)

    def answers(fed: np.ndarray) -> Optional[Sequence[np.ndarray]]:
        if find_spec("onnx") is None:
            return None
        return conversion.reference_outputs(conversion.read_onnx(job, _NAME), fed)

    return openvino_convert.convert(job, _NAME, job.source, ("onnx",), answers=answers)
