"""TensorFlow's files of a Keras model: TensorFlow Lite in float32, and a frozen graph.

Both take one input, whose batch is fixed in TensorFlow Lite and open in a graph.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, keras_saved, tensorflow_freeze, tensorflow_graphdef
from runner.support.keras_engine import Keras

Shape = Tuple[int, ...]
OpenShape = Tuple[Optional[int], ...]


def write_lite(
    keras: Keras, model: Any, shape: Shape, name: str, job: ConvertJob, probe: np.ndarray
) -> List[Any]:
    """A `.tflite` file without anything quantised, run by the interpreter that TensorFlow brings.

    It is made from a frozen function: given a function with the variables of a Keras 3 model, or a
    SavedModel of one, TFLiteConverter succeeds and makes a file that answers NaN.

    Raises:
        RunnerError: `unsupported`, naming the operators that TensorFlow Lite has not got;
            `conversion` if it can't be made or run, or was quantised.
    """
    del keras
    tf = import_module("tensorflow")
    try:
        traced, count = _traced(tf, model, shape)
        lite = tf.lite.TFLiteConverter
        frozen = tensorflow_freeze.frozen(traced)
        content: bytes = lite.from_concrete_functions([frozen], tf.Module()).convert()
    except Exception as error:
        raise refusal(name, error) from error
    if count > 1:
        content = _ordered(content)
    outputs = _run_lite(tf, content, probe, name, job.threads)
    conversion.check_finite(outputs)
    with conversion.written(job.target) as part, open(part, "wb") as file:
        file.write(content)
    return outputs


def write_graphdef(
    keras: Keras, model: Any, shape: Shape, name: str, job: ConvertJob, probe: np.ndarray
) -> List[Any]:
    """A `.pb` file: one placeholder `input`, outputs `output_0` and so on, all else constants.

    Raises:
        RunnerError: `conversion` if it can't be made or run.
    """
    del keras
    tf = import_module("tensorflow")
    open_batch = model.inputs[0].shape[0] is None
    try:
        traced, count = _traced(tf, model, (None if open_batch else shape[0], *shape[1:]))
        definition = _frozen(tf, traced, count)
        with conversion.written(job.target) as part:
            with open(part, "wb") as file:
                file.write(definition.SerializeToString(deterministic=True))
            graph = tensorflow_graphdef.read(name, tf, part)
            outputs = [tensor.numpy() for tensor in graph.step(tf.constant(probe))]
            conversion.check_finite(outputs)
    except RunnerError:
        raise
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: TensorFlow can't freeze the Keras model and run it: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return outputs


def _traced(tf: Any, model: Any, shape: OpenShape) -> Tuple[Any, int]:
    """The model as a concrete function from `input` to `output_000`, …; how many these are."""
    spec = tf.TensorSpec(shape, tf.dtypes.as_dtype(model.inputs[0].dtype), name="input")

    def answer(fed: Any) -> Any:
        outputs = keras_saved.flatten(model(fed, training=False))
        return {f"output_{place:03d}": tensor for place, tensor in enumerate(outputs)}

    traced = tf.function(answer, input_signature=[spec]).get_concrete_function()
    return traced, len(traced.structured_outputs)


def _frozen(tf: Any, traced: Any, count: int) -> Any:
    """The graph of a function, with constants for variables and plain names at its ends."""
    frozen = tensorflow_freeze.frozen(traced)
    ends = [tensor.op.name for tensor in frozen.outputs[:count]]
    definition = tf.compat.v1.graph_util.extract_sub_graph(frozen.graph.as_graph_def(), ends)
    (fed,) = [tensor.op.name for tensor in frozen.inputs if tensor.dtype != tf.resource]
    # What is fed and what is answered may be the same tensor as far as TensorFlow is concerned.
    new = {fed: "input", **{end: f"output_{place}" for place, end in enumerate(ends)}}
    for node in definition.node:
        node.name = new.get(node.name, node.name)
        for place, source in enumerate(node.input):
            control, operation, output = re.fullmatch(r"(\^?)([^:]+)(.*)", source).groups()
            node.input[place] = control + new.get(operation, operation) + output
    return definition


def _ordered(content: bytes) -> bytes:
    """A TensorFlow Lite model with its outputs in the order of their names in its signature."""
    utils = import_module("tensorflow.lite.tools.flatbuffer_utils")
    model = utils.convert_bytearray_to_object(bytearray(content))
    named = sorted((e.name.decode(), e.tensorIndex) for e in model.signatureDefs[0].outputs)
    model.subgraphs[0].outputs = np.array([index for _, index in named], np.int32)
    return bytes(utils.convert_object_to_bytearray(model))


def _run_lite(tf: Any, content: bytes, probe: np.ndarray, name: str, threads: int) -> List[Any]:
    try:
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        _require_float(interpreter.get_tensor_details(), name)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], probe)
        interpreter.invoke()
        details = interpreter.get_output_details()
        return [interpreter.get_tensor(detail["index"]) for detail in details]
    except RunnerError:
        raise
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: TensorFlow Lite can't run what was made: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def _require_float(details: Sequence[Any], name: str) -> None:
    quantised = [
        str(detail["name"])
        for detail in details
        if len(detail["quantization_parameters"]["scales"])
    ]
    if quantised:
        raise RunnerError(
            "conversion",
            f"{name}: TensorFlow Lite quantised {len(quantised)} tensors that nobody asked it to "
            f"({', '.join(quantised[:5])}): use another version of TensorFlow",
        )


def refusal(name: str, error: BaseException) -> RunnerError:
    """What TFLiteConverter's exception says: which operators, where it is about those.

    Args:
        name: the converter's.
        error: what TensorFlow raised.
    """
    failed = classify(error, "conversion")
    missing = re.search(r"TF (?:Select|Custom) ops: ([^\n]+)", str(error))
    if missing is None:
        words = f"{name}: TensorFlow can't convert the Keras model: {failed.message}"
        return RunnerError(failed.kind, words, failed.detail)
    return RunnerError(
        "unsupported",
        f"{name}: TensorFlow Lite has no operator for TensorFlow's {missing.group(1).strip()}; "
        "make the model without it, or run it by another stack",
        failed.detail,
    )
