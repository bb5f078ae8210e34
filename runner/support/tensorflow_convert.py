"""What the converters from TensorFlow's own formats do alike: read, write, look, compare.

The source is read as TensorFlow's backends read it. What was written is read back and run on a seeded
input, and compared with the source. The difference is recorded and decides nothing; an output that is
not finite is a failure.
"""

from __future__ import annotations

import warnings
from typing import Any, Callable, Dict, List

import numpy as np

from runner.backends.base import LoadRequest
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    fed_input,
    tensorflow_lite,
    tensorflow_source,
    tensorflow_trace,
    weights_request,
)
from runner.support.tensorflow_source import Source
from runner.support.tensorflow_trace import Model

Write = Callable[[Model, str, ConvertJob, np.ndarray], List[Any]]
"""`write(model, name, job, probe)` writes `job.target` and gives what that answers."""


def convert(job: ConvertJob, name: str, source_format: str, write: Write) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Args:
        job: what is asked for, with the options `batch` and `item_shape` and no other.
        name: the converter's, for messages.
        source_format: `savedmodel` or `graphdef`.
        write: of the target.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run or is not finite.
    """
    conversion.require_format(job, name, source_format)
    batch, item_shape = conversion.options_of(job, name)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf = tensorflow_trace.start(job.threads)
        request = LoadRequest(
            job.source, source_format, {}, "default", "cpu", job.threads, batch, item_shape or ()
        )
        source = tensorflow_source.read(name, tf, request)
        taken = source.input
        fed = fed_input.fed_shape(name, taken.name, taken.shape, batch, item_shape)
        probe = fed_input.seeded(fed, taken.dtype)
        expected = _answers(tf, source, probe, name)
        shape = fed_input.with_open_batch(fed, taken.shape)
        model = Model(tf, source.step, taken.dtype, shape)
        got = write(model, name, job, probe)
        conversion.check_finite(got)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, tensorflow_trace.PACKAGES, difference)


def convert_to_lite(job: ConvertJob, name: str, source_format: str) -> Dict[str, Any]:
    """As `convert`, to TensorFlow Lite, with the option `quantisation` besides."""
    plain, kind = tensorflow_lite.taken(job, name, tensorflow_lite.OPTIONS)
    quantising = tensorflow_lite.Quantising(kind)

    def write(model: Model, name: str, job: ConvertJob, probe: np.ndarray) -> List[Any]:
        return tensorflow_lite.write(model, name, job, probe, quantising)

    return convert(plain, name, source_format, write)


def _answers(tf: Any, source: Source, probe: np.ndarray, name: str) -> List[np.ndarray]:
    try:
        outputs = [tensor.numpy() for tensor in source.step(tf.constant(probe))]
    except Exception as error:
        failed = classify(error, "model")
        raise RunnerError(
            failed.kind,
            f"{name}: TensorFlow {tf.__version__} can't run the source on an input of "
            f"{list(probe.shape)}: {failed.message}",
            failed.detail,
        ) from error
    weights_request.require_finite(outputs, name)
    return outputs
