"""The converter `keras>tflite`: a Keras model (`.keras`) to TensorFlow Lite.

Options: `batch` (default 1); `item_shape`, the shape of one input, for a model that leaves more than
the batch open; `quantisation`. The batch is fixed.
Nothing is quantised unless `quantisation` asks for it: `dynamic`, `static` (with the job's calibration
inputs) or `float16`. The file takes and gives float32 all the same, so that the model is fed and its
answers are read in one way.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import (
    keras_architecture_convert,
    keras_engine,
    tensorflow_export,
    tensorflow_lite,
)

OPTIONS = tensorflow_lite.OPTIONS
"""What a job may say."""

LATE_IMPORTS = (keras_engine.import_keras_on_tensorflow,)
"""What is imported only when a model is converted, for a probe to try."""

_NAME = "keras>tflite"


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the Keras model on a seeded input. It is
    recorded and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run, or an output is not finite.
    """
    plain, kind = tensorflow_lite.taken(job, _NAME, OPTIONS)
    write = tensorflow_export.lite_writer(tensorflow_lite.Quantising(kind))
    reading = keras_architecture_convert.KERAS
    return keras_architecture_convert.convert(plain, _NAME, reading, write, "tensorflow")
