"""The converter `graphdef>savedmodel`: a frozen graph (`.pb`) to TensorFlow's SavedModel.

One signature `serving_default` from `input` to `output_0` and so on, in the graph's order; an open
batch stays open, and what was constant is constant. The target is a folder.
Options: `batch` (default 1) and `item_shape`, the shape of one input, for a graph that leaves more
than the batch open.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import tensorflow_convert, tensorflow_export, tensorflow_trace

OPTIONS = ("batch", "item_shape")
"""What a job may say."""

LATE_IMPORTS = (tensorflow_trace.import_tensorflow,)
"""What is imported only when a model is converted, for a probe to try."""

_NAME = "graphdef>savedmodel"


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the source on a seeded input. It is recorded
    and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run, or an output is not finite.
    """
    return tensorflow_convert.convert(job, _NAME, "graphdef", tensorflow_export.savedmodel_of)
