"""The converter `weights>keras`: named arrays to Keras's own file (`.keras`).

Options: `architecture`, `variant`, `batch`, `item_shape` as [3, H, W], and `library`, which says
whose names the arrays have and changes nothing: Keras has one network, which takes either's.
The source takes images [N, 3, H, W], normalised; the model is `keras.applications`' own with what
the variant says, and without preprocessing of its own.
"""

from __future__ import annotations

from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import keras_architecture_convert, keras_engine

LATE_IMPORTS = (keras_engine.import_keras,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the Keras model on a seeded input. It is
    recorded and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run, or an output is not finite.
    """
    reading, write = keras_architecture_convert.WEIGHTS, keras_architecture_convert.write_keras
    return keras_architecture_convert.convert(job, "weights>keras", reading, write)
