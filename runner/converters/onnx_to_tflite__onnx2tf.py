"""The converter `onnx>tflite:onnx2tf`: an ONNX model to TensorFlow Lite, by onnx2tf.

onnx2tf builds the model, and TFLiteConverter writes it, as onnx2tf would have it do, but with
TensorFlow Lite's own operators alone.

Options: `batch` (default 1) and `item_shape`, the shape of one input as ONNX has it, for a model
that leaves more than the batch open; `folding` (default true), whether onnx2tf has onnx-simplifier
fold constants first; `layout`, `nhwc` (onnx2tf's own default) or `nchw`, of the input, where the
source takes images with the channels first: any other input stays as it is; `quantisation`,
`dynamic`, `static` or `float16` (default: nothing is quantised). The batch is fixed.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict, Tuple

from runner.jobs import ConvertJob
from runner.support import conversion, onnx2tf_model, onnx2tf_tool, tensorflow_lite

_NAME = "onnx>tflite:onnx2tf"

OPTIONS: Tuple[str, ...] = (*onnx2tf_model.OPTIONS, tensorflow_lite.QUANTISATION)
"""The names of the options that a job may give."""

LATE_IMPORTS = (onnx2tf_tool.import_onnx2tf,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    The file is run in the interpreter that TensorFlow brings, on a seeded input:
    `probe_max_abs_diff` is its largest difference to ONNX Runtime on the source. It is recorded and
    decides nothing.

    Raises:
        RunnerError: as `onnx2tf_model.make` and `tensorflow_lite.write`.
    """
    rest, kind = tensorflow_lite.taken(job, _NAME, OPTIONS)
    made = onnx2tf_model.make(rest, _NAME, open_batch=False)
    quantising = tensorflow_lite.Quantising(kind, made.input_axes)
    # TensorFlow announces changes to come while it is used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = tensorflow_lite.write(made.model, _NAME, rest, made.probe, quantising)
    return conversion.converted(
        job.target,
        onnx2tf_model.PACKAGES,
        made.difference(got),
        made.input_axes,
        made.output_axes,
    )
