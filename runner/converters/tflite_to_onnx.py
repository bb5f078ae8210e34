"""The converter `tflite>onnx`: a TensorFlow Lite model to ONNX, by tf2onnx.

Options: `batch` (the model's own where that is fixed) and `item_shape`, the shape of one input, for
a model that leaves more open; `opset` (9 to 18, default 17; from 13 for a quantised model); `layout`
of the ONNX model's images, `nhwc` (as TensorFlow Lite has them, the default) or `nchw`.
A model in float32 stays one; one in 8-bit integers gets QuantizeLinear and DequantizeLinear, and its
inputs and outputs keep their dtype.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import tf2onnx_lite, tf2onnx_source

OPTIONS = tf2onnx_source.OPTIONS
LATE_IMPORTS = (tf2onnx_source.import_tf2onnx,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the difference of ONNX's reference evaluator to TensorFlow Lite's
    reference kernels on a seeded input. It is recorded and decides nothing.

    Raises:
        RunnerError: as `tf2onnx_lite.convert`.
    """
    return tf2onnx_lite.convert(job)
