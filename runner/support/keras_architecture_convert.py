"""What the converters from weights, and from Keras's files, do alike: read, write, look, compare.

A converter is a way to read a model and a way to write it. What was written is read back and run on
a seeded input, and compared with the Keras model that it was made from. The difference is recorded
and decides nothing; an output that is not finite is a failure.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    fed_input,
    keras_architecture,
    keras_architecture_h5,
    keras_engine,
    keras_saved,
    weights_file,
    weights_request,
)
from runner.support.keras_engine import Keras
from runner.support.weights_request import Request

_PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "h5py", "numpy")
_CHANNELS_LAST = (0, 2, 3, 1)
_SEED = 0

Shape = Tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """How a source becomes a model.

    `of_request(keras, path, request)` reads weights, whose architecture the request names; it is
    None for a file of a whole model. `raw`: the model may take pixels from 0 to 255.
    """

    format: str
    of_request: Optional[Callable[[Keras, str, Request], Any]] = None
    raw: bool = False


Write = Callable[[Keras, Any, Shape, str, ConvertJob, np.ndarray], List[Any]]
"""`write(keras, model, shape, name, job, probe)` writes `job.target` and gives what that answers.

`shape` is that of the whole input, with the batch of the job.
"""


def _read_weights(keras: Keras, path: str, request: Request) -> Any:
    arrays = weights_file.read(path)
    name, shape = request.architecture.name, request.item_shape
    return keras_architecture.of_arrays(keras, name, arrays, request.variant, shape)


def _read_keras_weights(keras: Keras, path: str, request: Request) -> Any:
    name, shape = request.architecture.name, request.item_shape
    return keras_architecture_h5.of_file(keras, path, name, request.variant, shape)


WEIGHTS = Reading("weights", _read_weights)
KERAS_WEIGHTS = Reading("keras_weights", _read_keras_weights, raw=True)
KERAS = Reading("keras")


def convert(
    job: ConvertJob, name: str, reading: Reading, write: Write, engine: Optional[str] = None
) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Args:
        job: what is asked for.
        name: the converter's, for messages.
        reading: of the source.
        write: of the target.
        engine: that Keras must run on; None: any.

    Raises:
        RunnerError: `unsupported` for the request; `model` for the source; `conversion` if what was
            made does not run or is not finite.
    """
    request: Optional[Request] = None
    if reading.of_request is not None:
        request = weights_request.read_request(job, name, (reading.format,))
        batch, item_shape = request.batch, None
    else:
        conversion.require_format(job, name, reading.format)
        batch, item_shape = conversion.options_of(job, name)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = keras_engine.load(job.threads, engine)
        if reading.of_request is not None and request is not None:
            model = reading.of_request(keras, job.source, request)
        else:
            model = keras_saved.read(name, job.source, "default")
        taken = keras_saved.described(name, model)[0]
        shape = fed_input.fed_shape(name, taken.name, taken.shape, batch, item_shape)
        probe = _probe(shape, taken.dtype, raw=reading.raw)
        expected = _answers(keras, model, probe, name)
        got = write(keras, model, shape, name, job, probe)
        conversion.check_finite(got)
        difference = conversion.largest_difference(expected, got)
    axes = None if request is None else _CHANNELS_LAST
    return conversion.converted(job.target, _PACKAGES, difference, axes)


def write_keras(
    keras: Keras,
    model: Any,
    shape: Shape,  # noqa: ARG001 (a `.keras` file keeps its batch open)
    name: str,
    job: ConvertJob,
    probe: np.ndarray,
) -> List[Any]:
    """A `.keras` file, read back without running code of its own.

    Raises:
        RunnerError: kind `conversion`, if it can't be saved, loaded and run, or is not finite.
    """
    with conversion.written(job.target, ".keras") as part:
        try:
            model.save(part)
            loaded = keras.module.models.load_model(part, compile=False, safe_mode=True)
            got = keras.run(loaded, probe)
        except Exception as error:
            failed = classify(error, "conversion")
            raise RunnerError(
                failed.kind,
                f"{name}: the model was made and can't be saved, loaded and run by Keras "
                f"{keras.version} on {keras.engine}: {failed.message}",
                failed.detail,
            ) from error
        conversion.check_finite(got)
    return got


def _probe(shape: Shape, dtype: str, *, raw: bool) -> np.ndarray:
    """Standard normal; pixels, where the model may take these; small integers for whole numbers."""
    if raw and np.dtype(dtype).kind == "f":
        generator = np.random.Generator(np.random.PCG64(_SEED))
        return generator.uniform(0, 255, size=shape).astype(dtype)
    return fed_input.seeded(shape, dtype)


def _answers(keras: Keras, model: Any, probe: np.ndarray, name: str) -> List[np.ndarray]:
    try:
        outputs = keras_saved.flatten(keras.run(model, probe))
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: Keras {keras.version} can't run the model: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    weights_request.require_finite(outputs, name)
    return outputs
