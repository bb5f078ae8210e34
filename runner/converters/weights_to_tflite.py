"""The converter `weights>tflite`: named arrays to TensorFlow Lite.

Options: `architecture`, `variant`, `batch`, `item_shape` as [3, H, W], `library`, which says
whose names the arrays have and changes nothing: Keras has one network, which takes either's; and
`quantisation`.
The source takes images [N, 3, H, W], normalised; the model is `keras.applications`' own with what
the variant says, and without preprocessing of its own. The batch is fixed.
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
    weights_request,
)

OPTIONS = (*weights_request.OPTIONS, "quantisation")
"""What a job may say."""

LATE_IMPORTS = (keras_engine.import_keras_on_tensorflow,)
"""What is imported only when a model is converted, for a probe to try."""

_NAME = "weights>tflite"
_CHANNELS_LAST = (0, 2, 3, 1)


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the Keras model on a seeded input. It is
    recorded and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run, or an output is not finite.
    """
    plain, kind = tensorflow_lite.taken(job, _NAME, OPTIONS)
    write = tensorflow_export.lite_writer(tensorflow_lite.Quantising(kind, _CHANNELS_LAST))
    reading = keras_architecture_convert.WEIGHTS
    return keras_architecture_convert.convert(plain, _NAME, reading, write, "tensorflow")
