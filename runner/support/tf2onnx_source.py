"""Keras files, SavedModels and frozen graphs to ONNX, by tf2onnx or by what Keras makes of it.

Each is read as TensorFlow's own backends read it: one function of a tensor. tf2onnx is given that
function by `from_function`, with names of its own at both ends: `from_keras` raises a KeyError where
it does not find Keras's names of the outputs again, and only a function keeps their order.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import LoadRequest
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    image_layout,
    keras_engine,
    tensorflow_source,
    tf2onnx_model,
    tf2onnx_request,
)
from runner.support.tensorflow_source import Source
from runner.support.tf2onnx_request import OpenShape, Request

OPTIONS = (*conversion.OPTIONS, "opset", "layout")
"""Those of tf2onnx itself."""

PACKAGES = ("tf2onnx", "tensorflow-cpu", "tensorflow", "keras", "onnx", "numpy")

_FED = "input"
_LAYOUTS = {"channels_last": "nhwc", "channels_first": "nchw"}
"""By what Keras's layers say; a SavedModel and a graph say nothing."""

Make = Callable[[Any, Source, OpenShape, Request, str], Any]
"""`make(tf, source, shape, request, part)` gives the model; `part` is a path it may write to."""


def import_tf2onnx() -> Any:
    """tf2onnx on TensorFlow, as a probe tries it."""
    with keras_engine.variables_put_back():
        keras_engine.load(None, engine="tensorflow")
        return import_module("tf2onnx.convert")


def convert(
    job: ConvertJob,
    name: str,
    source_format: str,
    make: Make,
    options: Sequence[str] = OPTIONS,
    tool: str = "tf2onnx",
) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Args:
        job: what is asked for.
        name: the converter's, for messages.
        source_format: that it reads.
        make: the model.
        options: that it takes.
        tool: who makes it, for messages.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that ONNX has not got; `model`
            for the source; `conversion` if the tool fails, or what it made is not valid or not
            finite.
    """
    request = tf2onnx_request.read(job, name, source_format, options)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras_engine.load(job.threads, "tensorflow")
        tf = import_module("tensorflow")
        source = tensorflow_source.read(name, tf, _load_request(job, request))
        shape = tf2onnx_request.signature(request, source.input, name)
        told = _LAYOUTS.get(str(source.ran.get("data_format")))
        request = tf2onnx_request.transposed(request, source.input.name, shape, name, told)
        fed = tf2onnx_request.probe(request, shape, source.input.dtype)
        expected = _answers(tf, source, fed, name)
        with conversion.written(job.target, ".onnx") as part:
            with tf2onnx_model.complaints() as said, tf2onnx_model.memory_given_back():
                try:
                    model = make(tf, source, shape, request, part)
                except RunnerError:
                    raise
                except Exception as error:
                    raise tf2onnx_model.failure(name, tool, error, said) from error
            names = [source.input.name, *_output_names(source)]
            looked = tf2onnx_model.Looked(name, said, names, fed, expected, request.batch)
            axes = input_axes(request)
            difference = tf2onnx_model.write(model, part, looked, axes)
    return conversion.converted(job.target, PACKAGES, difference, axes)


def by_tf2onnx(tf: Any, source: Source, shape: OpenShape, request: Request, part: str) -> Any:
    """tf2onnx's own conversion of the function that a source is."""
    del part
    tf2onnx = import_module("tf2onnx.convert")

    def answer(fed: Any) -> Any:
        return {f"output_{place:03d}": tensor for place, tensor in enumerate(source.step(fed))}

    model, _ = tf2onnx.from_function(
        tf.function(answer),
        input_signature=[tf.TensorSpec(shape, source.input.dtype, name=_FED)],
        opset=request.opset,
        inputs_as_nchw=[_FED] if request.layout == "nchw" else None,
    )
    return model


def input_axes(request: Request) -> Optional[Tuple[int, ...]]:
    """How the source's input is transposed to become what the ONNX model takes."""
    return image_layout.TO_NCHW if request.layout == "nchw" else None


def _load_request(job: ConvertJob, request: Request) -> LoadRequest:
    return LoadRequest(
        path=job.source,
        format=job.source_format,
        settings={},
        precision="default",
        device="cpu",
        threads=job.threads,
        batch=request.batch,
        item_shape=request.item_shape or (),
    )


def _answers(tf: Any, source: Source, fed: np.ndarray, name: str) -> List[np.ndarray]:
    try:
        return [tensor.numpy() for tensor in source.step(tf.constant(fed))]
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: TensorFlow can't run the model: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def _output_names(source: Source) -> List[str]:
    """Those of a Keras model are its layers', where it tells them; else TensorFlow's tensors'."""
    told = list(getattr(source.kept, "output_names", None) or ())
    return told if len(told) == len(source.outputs) else [spec.name for spec in source.outputs]
