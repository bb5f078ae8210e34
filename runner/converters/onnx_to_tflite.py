"""The converter `onnx>tflite`: an ONNX model to TensorFlow Lite, float32, by way of Keras.

The Keras model is that of `onnx>keras` with a fixed batch; TensorFlow's own TFLiteConverter does
the rest, from the model itself: going by a concrete function of a Keras 3 model gives a file that
answers NaN. Options: `batch` (default 1) and `item_shape`, the shape of one input as ONNX has it,
for a model that leaves more than the batch open. Nothing is quantised.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Dict, List, Sequence

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, keras_engine, keras_graph, tensorflow_export

_NAME = "onnx>tflite"
_PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "onnx", "numpy")

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
            refuses what should work, or an output is not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME)
    model = conversion.read_onnx(job, _NAME)
    probe = conversion.seeded_input(model, batch, item_shape, _NAME)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = keras_engine.load(job.threads, engine="tensorflow")
        built = keras_graph.build(model, keras, item_shape, _NAME, batch)
        content = _lite(built.model)
        got = run(content, probe, built, job.threads)
        conversion.check_finite(got)
        with conversion.written(job.target) as part, open(part, "wb") as file:
            file.write(content)
    expected = conversion.reference_outputs(model, probe)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(
        job.target, _PACKAGES, difference, built.input_axes, built.output_axes
    )


def _lite(model: Any) -> bytes:
    tf = import_module("tensorflow")

    try:
        content: bytes = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    except Exception as error:
        raise tensorflow_export.refusal(_NAME, error) from error
    return content if len(model.outputs) == 1 else _ordered(content, list(model.output_names))


def _ordered(content: bytes, names: Sequence[str]) -> bytes:
    """A TensorFlow Lite model with its outputs in the order of the Keras model's.

    TFLiteConverter sorts them as it likes, and only its signature tells which is which: `output_1`
    for Keras 3, the name of its layer for Keras 2.
    """
    flatbuffer_utils = import_module("tensorflow.lite.tools.flatbuffer_utils")

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    named = {entry.name.decode(): entry.tensorIndex for entry in model.signatureDefs[0].outputs}
    numbered = [f"output_{index}" for index in range(len(names))]
    order = numbered if set(numbered) == set(named) else names
    if set(order) != set(named):
        found = ", ".join(sorted(named))
        message = f"{_NAME}: TensorFlow Lite's outputs can't be told apart by name: {found}"
        raise RunnerError("conversion", message)
    model.subgraphs[0].outputs = np.array([named[name] for name in order], np.int32)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def run(
    content: bytes, probe: np.ndarray, built: keras_graph.Built, threads: int
) -> List[np.ndarray]:
    """The outputs of a TensorFlow Lite model, as ONNX lays them out.

    Raises:
        RunnerError: kind `conversion`, if the interpreter refuses the model.
    """
    tf = import_module("tensorflow")

    fed = probe if built.input_axes is None else probe.transpose(built.input_axes)
    try:
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], np.ascontiguousarray(fed)
        )
        interpreter.invoke()
        details = interpreter.get_output_details()
        outputs = [interpreter.get_tensor(detail["index"]) for detail in details]
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{_NAME}: TensorFlow Lite can't run what was made: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return [
        output if axes is None else output.transpose(axes)
        for output, axes in zip(outputs, built.output_axes)
    ]
