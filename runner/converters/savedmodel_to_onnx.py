"""The converter `savedmodel>onnx`: a SavedModel of TensorFlow to ONNX, by tf2onnx.

Options: `batch` (default 1) and `item_shape`, the shape of one input, for a model that leaves more
than the batch open; `opset` (9 to 18, default 17); `layout` of the ONNX model's images, `nhwc` (as
the SavedModel has them, the default) or `nchw`. An open batch stays open.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import tf2onnx_source

OPTIONS = tf2onnx_source.OPTIONS
LATE_IMPORTS = (tf2onnx_source.import_tf2onnx,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the difference of ONNX's reference evaluator to the source on a seeded
    input. It is recorded and decides nothing.

    Raises:
        RunnerError: as `tf2onnx_source.convert`.
    """
    make = tf2onnx_source.by_tf2onnx
    return tf2onnx_source.convert(job, "savedmodel>onnx", "savedmodel", make)
