"""The converter `onnx>savedmodel`: an ONNX model to a TensorFlow SavedModel, by onnx2tf.

Options: `batch` (default 1) and `item_shape`, the shape of one input as ONNX has it, for a model
that leaves more than the batch open; `folding` (default true), whether onnx2tf has onnx-simplifier
fold constants first; `layout`, `nhwc` (onnx2tf's own default) or `nchw`, of the input, where the
source takes images with the channels first: any other input stays as it is.

The batch stays open if ONNX leaves it open and the answers for another batch are right.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict, Tuple

from runner.jobs import ConvertJob
from runner.support import conversion, onnx2tf_model, onnx2tf_tool, tensorflow_export

_NAME = "onnx>savedmodel"

OPTIONS: Tuple[str, ...] = onnx2tf_model.OPTIONS
"""The names of the options that a job may give."""

LATE_IMPORTS = (onnx2tf_tool.import_onnx2tf,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write the folder `job.target`; the fields of the event `converted`.

    It is read back and run on a seeded input: `probe_max_abs_diff` is its largest difference to
    ONNX Runtime on the source. It is recorded and decides nothing.

    Raises:
        RunnerError: as `onnx2tf_model.make`; `conversion` if TensorFlow can't save the model, load
            and run it, or an output is not finite.
    """
    made = onnx2tf_model.make(job, _NAME, open_batch=True)
    # TensorFlow announces changes to come while it is used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = tensorflow_export.savedmodel_of(made.model, _NAME, job, made.probe)
    return conversion.converted(
        job.target,
        onnx2tf_model.PACKAGES,
        made.difference(got),
        made.input_axes,
        made.output_axes,
    )
