"""The converter `keras>onnx:keras`: a Keras model (`.keras`) to ONNX, by Keras's own `model.export`.

On TensorFlow Keras runs tf2onnx, with parts of it replaced by Keras's own for NumPy 2. Options:
`batch` (default 1) and `item_shape`, the shape of one input, for a model that leaves more than the
batch open; `opset` (9 to 18, default 17). There is no `layout`: `export` takes none. An open batch
stays open. Keras calls the outputs `Identity:0` and so on; they get the names of Keras's layers.
"""

from __future__ import annotations

from typing import Any, Dict

import onnx

from runner.jobs import ConvertJob
from runner.support import conversion, tf2onnx_source
from runner.support.tensorflow_source import Source
from runner.support.tf2onnx_request import OpenShape, Request

OPTIONS = (*conversion.OPTIONS, "opset")
LATE_IMPORTS = (tf2onnx_source.import_tf2onnx,)
"""What is imported only when a model is converted, for a probe to try."""

_NAME = "keras>onnx:keras"


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the difference of ONNX's reference evaluator to the source on a seeded
    input. It is recorded and decides nothing.

    Raises:
        RunnerError: as `tf2onnx_source.convert`.
    """
    return tf2onnx_source.convert(job, _NAME, "keras", _export, OPTIONS, "Keras's model.export")


def _export(tf: Any, source: Source, shape: OpenShape, request: Request, part: str) -> Any:
    spec = tf.TensorSpec(shape, source.input.dtype, name="input")
    source.kept.export(
        part,
        format="onnx",
        verbose=False,
        input_signature=[spec],
        opset_version=request.opset,
    )
    return onnx.load(part)
