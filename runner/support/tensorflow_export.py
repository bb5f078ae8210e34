"""TensorFlow's files of a Keras model or a function: SavedModel, frozen graph, TensorFlow Lite.

All take one input, whose batch is fixed in TensorFlow Lite and open in the others where the model
leaves it open.
"""

from __future__ import annotations

import contextlib
import io
import re
from importlib import import_module
from typing import Any, Callable, List, Tuple

import numpy as np

from runner.backends.base import LoadRequest
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    keras_saved,
    tensorflow_freeze,
    tensorflow_graphdef,
    tensorflow_lite,
    tensorflow_source,
    tensorflow_trace,
)
from runner.support.keras_engine import Keras
from runner.support.tensorflow_lite import Quantising
from runner.support.tensorflow_trace import Model

Shape = Tuple[int, ...]
WriteKeras = Callable[[Keras, Any, Shape, str, ConvertJob, np.ndarray], List[Any]]

_SERVED = "serve"


def lite_writer(quantising: Quantising) -> WriteKeras:
    """What writes a `.tflite` file of a Keras model; raises as `tensorflow_lite.write`."""

    def write(
        keras: Keras, model: Any, shape: Shape, name: str, job: ConvertJob, probe: np.ndarray
    ) -> List[Any]:
        return tensorflow_lite.write(of_keras(keras, model, shape), name, job, probe, quantising)

    return write


def write_graphdef(
    keras: Keras, model: Any, shape: Shape, name: str, job: ConvertJob, probe: np.ndarray
) -> List[Any]:
    """As `graphdef_of`, of a Keras model."""
    return graphdef_of(of_keras(keras, model, shape), name, job, probe)


def write_savedmodel(
    keras: Keras, model: Any, shape: Shape, name: str, job: ConvertJob, probe: np.ndarray
) -> List[Any]:
    """A SavedModel by Keras's own export, read back, of which `output_0` and so on are answers.

    Keras names several outputs after their place, and more than ten would be sorted wrongly.

    Raises:
        RunnerError: kind `conversion`, if it can't be made or run.
    """
    exported = of_keras(keras, model, shape)
    names = tensorflow_trace.signature_names(len(model.outputs))

    def serve(fed: Any) -> Any:
        return dict(zip(names, exported.step(fed)))

    def save(part: str) -> None:
        archive = _export_archive(keras)()
        archive.track(model)
        archive.add_endpoint(_SERVED, serve, input_signature=[exported.spec()])
        # It prints a line for each variable, which Keras 2 can't be kept from.
        with contextlib.redirect_stdout(io.StringIO()):
            archive.write_out(part)

    return _saved(exported, save, name, job, probe)


def savedmodel_of(model: Model, name: str, job: ConvertJob, probe: np.ndarray) -> List[Any]:
    """A SavedModel of a function, with the signature `serving_default`, read back.

    Raises:
        RunnerError: kind `conversion`, if it can't be made or run.
    """
    tf = model.tf

    def save(part: str) -> None:
        _, count = tensorflow_trace.traced(model)
        names = tensorflow_trace.signature_names(count)
        module = tf.Module()
        module.serve = tf.function(
            lambda fed: dict(zip(names, model.step(fed))), input_signature=[model.spec()]
        )
        tf.saved_model.save(module, part, signatures={"serving_default": module.serve})

    return _saved(model, save, name, job, probe)


def graphdef_of(model: Model, name: str, job: ConvertJob, probe: np.ndarray) -> List[Any]:
    """A `.pb` file: one placeholder `input`, outputs `output_0` and so on, all else constants.

    Raises:
        RunnerError: kind `conversion`, if it can't be made or run.
    """
    tf = model.tf
    try:
        definition = _graph(tf, *tensorflow_trace.traced(model))
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
        message = f"{name}: TensorFlow can't freeze the model and run it: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return outputs


def of_keras(keras: Keras, model: Any, shape: Shape) -> Model:
    """A Keras model as a function, whose batch is open if the model's is.

    Args:
        keras: on TensorFlow.
        model: of one input.
        shape: of the whole input, with the batch of the job.
    """
    del keras
    open_batch = model.inputs[0].shape[0] is None
    dtype = keras_saved.described("keras", model)[0].dtype

    def step(fed: Any) -> List[Any]:
        return keras_saved.flatten(model(fed, training=False))

    tf = import_module("tensorflow")
    return Model(tf, step, dtype, (None if open_batch else shape[0], *shape[1:]))


def _saved(
    model: Model, save: Callable[[str], None], name: str, job: ConvertJob, probe: np.ndarray
) -> List[Any]:
    """Save, read back as a cell would, and run."""
    tf = model.tf
    try:
        with conversion.written_folder(job.target) as part:
            save(part)
            request = LoadRequest(
                part, "savedmodel", {}, "default", "cpu", job.threads, len(probe), probe.shape[1:]
            )
            read = tensorflow_source.read(name, tf, request)
            outputs = [tensor.numpy() for tensor in read.step(tf.constant(probe))]
            conversion.check_finite(outputs)
    except RunnerError:
        raise
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: TensorFlow can't save the model, load and run it: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return outputs


def _export_archive(keras: Keras) -> Any:
    """Keras's class, which Keras 2 has since 2.13."""
    found = getattr(getattr(keras.module, "export", None), "ExportArchive", None)
    if found is None:
        raise RunnerError(
            "unsupported",
            f"Keras {keras.version} can't export a SavedModel for inference (since 2.13 it can): "
            "use a newer TensorFlow",
        )
    return found


def _graph(tf: Any, traced: Any, count: int) -> Any:
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
