"""The converter `onnx>tflite`: an ONNX model to TensorFlow Lite, by way of Keras.

The Keras model is that of `onnx>keras` with a fixed batch; TensorFlow's own TFLiteConverter does
the rest. Options: `batch` (default 1); `item_shape`, the shape of one input as ONNX has it, for a
model that leaves more than the batch open; `quantisation`.
Nothing is quantised unless `quantisation` asks for it: `dynamic`, `static` (with the job's calibration
inputs) or `float16`. The file takes and gives float32 all the same, so that the model is fed and its
answers are read in one way.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Dict, List

import numpy as np

from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    keras_engine,
    keras_graph,
    tensorflow_export,
    tensorflow_lite,
)

_NAME = "onnx>tflite"
_PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "onnx", "numpy")

OPTIONS = tensorflow_lite.OPTIONS
"""What a job may say."""

LATE_IMPORTS = (keras_engine.import_keras_on_tensorflow,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    The file is run in the interpreter that TensorFlow brings, on a seeded input:
    `probe_max_abs_diff` is its largest difference to ONNX's own reference evaluator. It is recorded
    and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that has no conversion to Keras
            or to TensorFlow Lite; `model` if the source can't be read; `conversion` if TensorFlow
            refuses what should work, or an output is lost, of another rank or not finite.
    """
    plain, kind = tensorflow_lite.taken(job, _NAME, OPTIONS)
    batch, item_shape = conversion.options_of(plain, _NAME)
    model = conversion.read_onnx(job, _NAME)
    probe = conversion.seeded_input(model, batch, item_shape, _NAME)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = keras_engine.load(job.threads, engine="tensorflow")
        built = keras_graph.build(model, keras, item_shape, _NAME, batch)
        fed = _fed(probe, built)
        quantising = tensorflow_lite.Quantising(kind, built.input_axes)
        source = tensorflow_export.of_keras(keras, built.model, fed.shape)
        got = _laid_out(tensorflow_lite.write(source, _NAME, job, fed, quantising), built)
    expected = conversion.reference_outputs(model, probe)
    conversion.require_alike(expected, got, sizes=False)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(
        job.target, _PACKAGES, difference, built.input_axes, built.output_axes
    )


def run(
    content: bytes, probe: np.ndarray, built: keras_graph.Built, threads: int
) -> List[np.ndarray]:
    """The outputs of a TensorFlow Lite model, as ONNX lays them out.

    Raises:
        RunnerError: kind `conversion`, if the interpreter refuses the model.
    """
    tf = import_module("tensorflow")
    outputs = tensorflow_lite.run(tf, content, _fed(probe, built), _NAME, threads)
    return _laid_out(outputs, built)


def _fed(probe: np.ndarray, built: keras_graph.Built) -> np.ndarray:
    axes = built.input_axes
    return np.ascontiguousarray(probe if axes is None else probe.transpose(axes))


def _laid_out(outputs: List[np.ndarray], built: keras_graph.Built) -> List[np.ndarray]:
    return [
        output if axes is None else output.transpose(axes)
        for output, axes in zip(outputs, built.output_axes)
    ]
