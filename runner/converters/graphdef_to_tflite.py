"""The converter `graphdef>tflite`: a frozen graph (`.pb`) to TensorFlow Lite.

Options: `batch` (default 1); `item_shape`, the shape of one input, for a graph that leaves more than
the batch open; `quantisation`. The batch is fixed.
Nothing is quantised unless `quantisation` asks for it: `dynamic`, `static` (with the job's calibration
inputs) or `float16`. The file takes and gives float32 all the same, so that the model is fed and its
answers are read in one way.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import tensorflow_convert, tensorflow_lite, tensorflow_trace

OPTIONS = tensorflow_lite.OPTIONS
"""What a job may say."""

LATE_IMPORTS = (tensorflow_trace.import_tensorflow,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the source on a seeded input. It is recorded
    and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run, or an output is not finite.
    """
    return tensorflow_convert.convert_to_lite(job, "graphdef>tflite", "graphdef")
