"""The converter `keras_weights>tflite`: weights of keras.applications (`.h5`) to TensorFlow Lite, float32.

Options: `architecture`, `variant`, `batch`, and `item_shape` as [3, H, W]. There is no `library`:
that is for PyTorch's names.
The model is Keras's own, so it takes raw pixels where that does (EfficientNet, MobileNetV3, ConvNeXt).
The batch is fixed and nothing is quantised.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import keras_architecture_convert, keras_engine, tensorflow_export

LATE_IMPORTS = (keras_engine.import_keras_on_tensorflow,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the Keras model on a seeded input. It is
    recorded and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run, or an output is not finite.
    """
    reading, write = keras_architecture_convert.KERAS_WEIGHTS, tensorflow_export.write_lite
    return keras_architecture_convert.convert(
        job, "keras_weights>tflite", reading, write, "tensorflow"
    )
