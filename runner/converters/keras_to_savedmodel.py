"""The converter `keras>savedmodel`: a Keras model (`.keras`) to TensorFlow's SavedModel, by Keras's export.

Options: `batch` (default 1) and `item_shape`, the shape of one input, for a model that leaves more than
the batch open.
One signature `serving_default` from `input` to `output_0` and so on, in the model's order; an open
batch stays open. The target is a folder.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import keras_architecture_convert, keras_engine, tensorflow_export

OPTIONS = ("batch", "item_shape")
"""What a job may say."""

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
    reading, write = keras_architecture_convert.KERAS, tensorflow_export.write_savedmodel
    return keras_architecture_convert.convert(job, "keras>savedmodel", reading, write, "tensorflow")
