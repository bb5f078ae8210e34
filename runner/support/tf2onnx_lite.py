"""TensorFlow Lite to ONNX by tf2onnx: float32 as it is, integers as QuantizeLinear and its inverse.

What TensorFlow Lite computes in integers is written as float operators between QuantizeLinear and
DequantizeLinear; an engine may join these into integer kernels again. Weights alone in int8 become
DynamicQuantizeLinear and DequantizeLinear. An input or output of integers stays one; its scale and
zero point go into the model's metadata.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from runner.backends.base import TensorSpec, comparable, only_input, require_file
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, keras_engine, tf2onnx_model, tf2onnx_request, tf2onnx_source
from runner.support.tf2onnx_request import Request

_NAME = "tflite>onnx"
_SCALES_BY_CHANNEL_FROM = 13
_INTEGERS = ("int8", "uint8", "int32", "int64")


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or for what ONNX has no operator or integers
            for; `model` for the source; `conversion` if tf2onnx fails, or what it made is not
            valid or not finite.
    """
    request = tf2onnx_request.read(job, _NAME, "tflite", tf2onnx_source.OPTIONS)
    require_file(job.source)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras_engine.load(job.threads, "tensorflow")
        interpreter = _interpreter(job)
        spec = _spec(interpreter)
        _require_writable(interpreter.get_tensor_details(), request.opset)
        shape = tf2onnx_request.signature(request, spec, _NAME)
        request = tf2onnx_request.transposed(request, spec.name, shape, _NAME)
        fed = tf2onnx_request.probe(request, shape, spec.dtype)
        expected = _answers(interpreter, fed)
        model, said = _converted(job.source, spec.name, request)
        ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
        names, scales = [str(end["name"]) for end in ends], _scales(ends)
        looked = tf2onnx_model.Looked(_NAME, said, names, fed, expected, request.batch, scales)
        axes = tf2onnx_source.input_axes(request)
        with conversion.written(job.target, ".onnx") as part:
            difference = tf2onnx_model.write(model, part, looked, axes)
    return conversion.converted(job.target, tf2onnx_source.PACKAGES, difference, axes)


def _converted(path: str, fed: str, request: Request) -> Tuple[Any, Sequence[str]]:
    tf2onnx = import_module("tf2onnx.convert")
    with tf2onnx_model.complaints() as said, tf2onnx_model.memory_given_back():
        try:
            model, _ = tf2onnx.from_tflite(
                path,
                opset=request.opset,
                inputs_as_nchw=[fed] if request.layout == "nchw" else None,
            )
        except Exception as error:
            raise tf2onnx_model.failure(_NAME, "tf2onnx", error, said) from error
    return model, said


def _interpreter(job: ConvertJob) -> Any:
    """TensorFlow Lite's plain loops: they define what each operator is."""
    lite = import_module("tensorflow").lite
    try:
        interpreter = lite.Interpreter(
            model_path=job.source,
            num_threads=job.threads,
            experimental_op_resolver_type=lite.experimental.OpResolverType.BUILTIN_REF,
        )
        interpreter.allocate_tensors()
    except Exception as error:
        failed = classify(error, "model")
        message = f"{job.source}: TensorFlow Lite refuses the model: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return interpreter


def _spec(interpreter: Any) -> TensorSpec:
    details = interpreter.get_input_details()
    only_input(_NAME, [str(one["name"]) for one in details])
    (given,) = details
    name, signature = str(given["name"]), given["shape_signature"]
    sizes = signature if len(signature) else given["shape"]
    shape = tuple(None if size < 0 else int(size) for size in sizes)
    return TensorSpec(name, comparable(_NAME, name, np.dtype(given["dtype"]).name), shape)


def _require_writable(details: Sequence[Any], opset: int) -> None:
    """Refuse integers that the operators of an opset can't hold.

    Raises:
        RunnerError: kind `unsupported`.
    """
    quantised = [one for one in details if len(one["quantization_parameters"]["scales"])]
    other = {np.dtype(one["dtype"]).name for one in quantised} - set(_INTEGERS)
    if other:
        raise RunnerError(
            "unsupported",
            f"{_NAME}: the model is quantised to {', '.join(sorted(other))}, and ONNX's "
            "QuantizeLinear has only 8-bit integers in the opsets that tf2onnx writes (up to "
            f"{tf2onnx_request.OPSETS[-1]}): quantise it to int8",
        )
    if quantised and opset < _SCALES_BY_CHANNEL_FROM:
        raise RunnerError(
            "unsupported",
            f"{_NAME}: the model is quantised, and scales for each channel need opset "
            f"{_SCALES_BY_CHANNEL_FROM} of ONNX or newer: ask for that instead of {opset}",
        )


def _scales(ends: Sequence[Any]) -> Dict[str, Tuple[float, int]]:
    """Scale and zero point of the tensors that have one of each, by name."""
    told = {str(end["name"]): end["quantization_parameters"] for end in ends}
    return {
        name: (float(how["scales"][0]), int(how["zero_points"][0]))
        for name, how in told.items()
        if len(how["scales"]) == 1
    }


def _answers(interpreter: Any, fed: np.ndarray) -> List[np.ndarray]:
    (given,) = interpreter.get_input_details()
    try:
        if tuple(given["shape"]) != fed.shape:
            interpreter.resize_tensor_input(given["index"], fed.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], fed)
        interpreter.invoke()
        ends = interpreter.get_output_details()
        return [interpreter.get_tensor(end["index"]) for end in ends]
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{_NAME}: TensorFlow Lite can't run the model: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
