"""What the converters from TensorFlow's own formats do alike: read, write, look, compare.

The source is read as TensorFlow's backends read it. What was written is read back and run on a seeded
input, and compared with the source. The difference is recorded and decides nothing; an output that is
not finite is a failure.
"""

from __future__ import annotations

import warnings
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import LoadRequest, TensorSpec, unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, tensorflow_source, tensorflow_trace, weights_request
from runner.support.tensorflow_source import Source
from runner.support.tensorflow_trace import Model, OpenShape

_SEED = 0

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
    if job.source_format != source_format:
        raise unsupported(name, "source format", job.source_format, (source_format,))
    batch, item_shape = conversion.options_of(job, name)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf = tensorflow_trace.start(job.threads)
        request = LoadRequest(
            job.source, source_format, {}, "default", "cpu", job.threads, batch, item_shape or ()
        )
        source = tensorflow_source.read(name, tf, request)
        shape = fed_shape(source.input, batch, item_shape, name)
        probe = seeded_input(source.input.dtype, (batch, *(size or 1 for size in shape[1:])))
        expected = _answers(tf, source, probe, name)
        model = Model(tf, source.step, source.input.dtype, shape)
        got = write(model, name, job, probe)
        conversion.check_finite(got)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, tensorflow_trace.PACKAGES, difference)


def fed_shape(
    spec: TensorSpec, batch: int, item_shape: Optional[Sequence[int]], name: str
) -> OpenShape:
    """The shape of the input: nothing open but the batch, and that if the source leaves it open.

    Args:
        spec: what the source declares.
        batch: that is asked for.
        item_shape: of one input, where it is known.
        name: the converter's.

    Raises:
        RunnerError: kind `unsupported`, if the source can't take it or leaves more than that open.
    """
    if spec.shape is None and item_shape is None:
        message = f"{name}: the model does not say what shape it takes: give the option item_shape"
        raise RunnerError("unsupported", message)
    declared = spec.shape or (None,) * (1 + len(item_shape or ()))
    wanted: List[Optional[int]] = [batch, *(declared[1:] if item_shape is None else item_shape)]
    fits = len(wanted) == len(declared) and all(
        size in (None, want) for size, want in zip(declared, wanted)
    )
    if not fits:
        raise RunnerError(
            "unsupported",
            f"{name}: the model takes {list(declared)} and {wanted} was asked for: use the model's "
            "own batch and shape, or save it with an open batch",
        )
    if None in wanted:
        raise RunnerError(
            "unsupported",
            f"{name}: the model leaves more than the batch of its input open ({list(declared)}); "
            "give the option item_shape",
        )
    return (None if declared[0] is None else batch, *wanted[1:])


def seeded_input(dtype: str, shape: Tuple[int, ...]) -> np.ndarray:
    """Standard normal; small integers for whole numbers."""
    generator = np.random.Generator(np.random.PCG64(_SEED))
    if np.dtype(dtype).kind in "iu":
        return generator.integers(0, 100, size=shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)


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
