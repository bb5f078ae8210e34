"""TensorFlow Lite files by TFLiteConverter: in float32, or quantised where that is asked for.

Quantised ones take and give float32 as the others do: what is fed, and how answers are read, is then
the same for all files of a model, and what differs is inside. `dynamic`: integer weights, ranges of
activations chosen as they come. `static`: integers throughout, ranges from calibration inputs.
`float16`: weights of 16 bits, which are computed with in float32.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import calibration, conversion, tensorflow_trace, tflite_interpreter
from runner.support.tally import tally
from runner.support.tensorflow_trace import Model

QUANTISATION = "quantisation"
"""The name of the option."""

OPTIONS = (*conversion.OPTIONS, QUANTISATION)
"""Of a converter that has none of its own."""

_MISSING = re.compile(r"TF (?:Select|Custom) ops: ([^\n]+)")
_BETWEEN = ("QUANTIZE", "DEQUANTIZE", "DELEGATE")
"""Operators that lead to integers and back, and the delegate, which stands for those it runs."""
_NAMED = 5

Samples = Callable[[], Iterator[List[np.ndarray]]]


@dataclass(frozen=True)
class Quantising:
    """What is asked for: a kind of quantisation, and where its inputs come from.

    Attributes:
        kind: `dynamic`, `static` or `float16`; None: nothing is quantised.
        input_axes: how an input of the source is transposed to become the file's.
    """

    kind: Optional[str] = None
    input_axes: Optional[Tuple[int, ...]] = None


NONE = Quantising()


def taken(job: ConvertJob, name: str, known: Sequence[str]) -> Tuple[ConvertJob, Optional[str]]:
    """The job without the option `quantisation`, and what that says.

    Args:
        job: the conversion.
        name: the converter's.
        known: all options that it takes.

    Raises:
        RunnerError: kind `unsupported`, for an unknown option, an unknown quantisation, or `static`
            without calibration inputs.
    """
    conversion.require_options(job, name, known)
    asked = conversion.quantisation_of(job, name)
    rest = {option: value for option, value in job.options.items() if option != QUANTISATION}
    return replace(job, options=rest), asked


def write(
    model: Model,
    name: str,
    job: ConvertJob,
    probe: np.ndarray,
    quantising: Quantising = NONE,
) -> List[np.ndarray]:
    """Write `job.target` for the batch of a probe; what the file answers to it.

    The file is made from a function without variables, beside a module that has none: given a
    function of a Keras 3 model, and the model, TFLiteConverter succeeds and makes a file that answers
    NaN.

    Raises:
        RunnerError: `unsupported`, naming the operators that TensorFlow Lite has not got, or if
            there was nothing to quantise; `conversion` if it can't be made or run, is not finite, or
            is quantised in another way than was asked for.
    """
    tf, fixed = model.tf, model.with_batch(len(probe))
    try:
        function, count = tensorflow_trace.traced(fixed)
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [_frozen(function)], tf.Module()
        )
        _ask(tf, converter, quantising, _samples(job, fixed, quantising))
        content: bytes = converter.convert()
    except RunnerError:
        raise
    except Exception as error:
        raise refusal(name, error) from error
    if count > 1:
        content = _ordered(content)
    outputs = run(tf, content, probe, name, job.threads, quantising.kind)
    conversion.check_finite(outputs)
    with conversion.written(job.target) as part, open(part, "wb") as file:
        file.write(content)
    return outputs


def refusal(name: str, error: BaseException) -> RunnerError:
    """What TFLiteConverter's exception says: which operators, where it is about those.

    Args:
        name: the converter's.
        error: what TensorFlow raised.
    """
    failed = classify(error, "conversion")
    missing = ", ".join(found.strip() for found in _MISSING.findall(str(error)))
    if missing:
        return RunnerError(
            "unsupported",
            f"{name}: TensorFlow Lite has no operator for TensorFlow's {missing}; "
            "make the model without it, or run it by another stack",
            failed.detail,
        )
    words = f"{name}: TensorFlow can't convert the model to TensorFlow Lite: {failed.message}"
    return RunnerError(failed.kind, words, failed.detail)


def _frozen(function: Any) -> Any:
    """Without variables; loops and branches stay functions, the only kind TensorFlow Lite takes."""
    freezing = import_module("tensorflow.python.framework.convert_to_constants")
    return freezing.convert_variables_to_constants_v2(function, lower_control_flow=False)


def _ask(tf: Any, converter: Any, quantising: Quantising, samples: Samples) -> None:
    if quantising.kind is None:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantising.kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantising.kind == "static":
        converter.representative_dataset = samples
        # The other set has float kernels too. Operators without an integer one may stay float all
        # the same, which is looked at afterwards.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


def _samples(job: ConvertJob, model: Model, quantising: Quantising) -> Samples:
    """Calibration inputs in batches as large as the file's; the last is filled up with its last."""
    batch = int(model.shape[0] or 1)

    def stacked(rows: List[np.ndarray]) -> List[np.ndarray]:
        whole = np.concatenate(rows + rows[-1:] * (batch - len(rows)))
        return [np.ascontiguousarray(whole)]

    def batches() -> Iterator[List[np.ndarray]]:
        rows: List[np.ndarray] = []
        for row in calibration.batches(job, model.dtype):
            rows.append(
                row if quantising.input_axes is None else row.transpose(quantising.input_axes)
            )
            if len(rows) == batch:
                yield stacked(rows)
                rows = []
        if rows:
            yield stacked(rows)

    return batches


def _ordered(content: bytes) -> bytes:
    """A TensorFlow Lite model with its outputs in the order of their names in its signature."""
    utils = import_module("tensorflow.lite.tools.flatbuffer_utils")
    model = utils.convert_bytearray_to_object(bytearray(content))
    named = sorted((e.name.decode(), e.tensorIndex) for e in model.signatureDefs[0].outputs)
    model.subgraphs[0].outputs = np.array([index for _, index in named], np.int32)
    return bytes(utils.convert_object_to_bytearray(model))


def run(
    tf: Any,
    content: bytes,
    probe: np.ndarray,
    name: str,
    threads: int,
    kind: Optional[str] = None,
) -> List[np.ndarray]:
    """What a file answers, by the interpreter that TensorFlow brings.

    Args:
        tf: TensorFlow.
        content: of the file.
        probe: as the file takes it.
        name: the converter's.
        threads: for the interpreter.
        kind: of quantisation, which the file must have; None: it must have none.

    Raises:
        RunnerError: `conversion` if the interpreter refuses it; as `require_quantised_as_asked`.
    """
    try:
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        fed, given = interpreter.get_input_details()[0], interpreter.get_output_details()
        require_quantised_as_asked(interpreter.get_tensor_details(), [fed, *given], kind, name)
        if kind == "static":
            require_integers(interpreter, name)
        interpreter.set_tensor(fed["index"], probe)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in given]
    except RunnerError:
        raise
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: TensorFlow Lite can't run what was made: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def require_quantised_as_asked(
    tensors: Sequence[Any], ends: Sequence[Any], kind: Optional[str], name: str
) -> None:
    """Refuse a file that is quantised in another way than was asked for, or not at all.

    Args:
        tensors: what the interpreter says of all tensors.
        ends: of the input and the outputs among them.
        kind: of quantisation; None: there must be none.
        name: the converter's.

    Raises:
        RunnerError: `conversion` if something is quantised that must not be; `unsupported` if
            nothing is.
    """
    scaled = [str(one["name"]) for one in tensors if len(one["quantization_parameters"]["scales"])]
    if scaled and kind in (None, "float16"):
        raise RunnerError(
            "conversion",
            f"{name}: TensorFlow Lite quantised {len(scaled)} tensors that nobody asked it to "
            f"({', '.join(scaled[:_NAMED])}): use another version of TensorFlow",
        )
    integers = [one for one in ends if len(one["quantization_parameters"]["scales"])]
    if integers:
        raise RunnerError(
            "conversion",
            f"{name}: TensorFlow Lite made an input or output of integers "
            f"({integers[0]['name']}), where float32 is fed: use another version of TensorFlow",
        )
    halves = [one for one in tensors if np.dtype(one["dtype"]) == np.float16]
    if (kind in ("dynamic", "static") and not scaled) or (kind == "float16" and not halves):
        raise RunnerError(
            "unsupported",
            f"{name}: TensorFlow Lite found nothing to quantise for quantisation={kind} (it leaves "
            "weights of fewer than 1024 values alone, and operators it has no kernel for): convert "
            "without",
        )


def require_integers(interpreter: Any, name: str) -> None:
    """Refuse a model of which a part still computes with floats, where it was to be integers.

    Args:
        interpreter: with its tensors allocated.
        name: the converter's.

    Raises:
        RunnerError: kind `unsupported`, naming the operators.
    """
    floats = {
        int(one["index"])
        for one in interpreter.get_tensor_details()
        if np.dtype(one["dtype"]).kind == "f"
    }
    listed = [
        row
        for row in tflite_interpreter.operators(interpreter) or ()
        if row["op_name"] not in _BETWEEN
    ]
    left = [row for row in listed if floats.intersection(int(place) for place in row["outputs"])]
    if left:
        kinds = ", ".join(tally(str(row["op_name"]) for row in left))
        raise RunnerError(
            "unsupported",
            f"{name}: TensorFlow Lite has no integer kernel for {kinds} and left {len(left)} of "
            f"{len(listed)} operators in float, where static quantisation is to make integers of "
            "all: make the model without them, or ask for dynamic or float16",
        )
