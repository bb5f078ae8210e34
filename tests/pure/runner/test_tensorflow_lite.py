"""What is looked at in a TensorFlow Lite file, and what is asked for of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner.errors import RunnerError
from runner.jobs import Calibration, ConvertJob, Inputs
from runner.support import tensorflow_lite, tensorflow_trace


def tensor(name: str, dtype: Any = np.float32, scales: int = 0, index: int = 0) -> dict[str, Any]:
    parameters = {"scales": np.ones(scales, np.float32)}
    return {"name": name, "dtype": dtype, "quantization_parameters": parameters, "index": index}


PLAIN = [tensor("x"), tensor("y")]
INTEGERS = tensor("kernel", np.int8, 32)
HALF = tensor("kernel", np.float16)


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        (PLAIN, None),
        ([*PLAIN, INTEGERS], "dynamic"),
        ([*PLAIN, INTEGERS], "static"),
        ([*PLAIN, HALF], "float16"),
    ],
)
def test_a_file_quantised_as_asked_passes(tensors: list[Any], kind: str | None) -> None:
    tensorflow_lite.require_quantised_as_asked(tensors, PLAIN, kind, "keras>tflite")


@pytest.mark.parametrize(
    ("tensors", "ends", "kind", "error", "words"),
    [
        ([*PLAIN, INTEGERS], PLAIN, None, "conversion", r"quantised 1 tensors .* \(kernel\)"),
        ([*PLAIN, INTEGERS], PLAIN, "float16", "conversion", "nobody asked it to"),
        ([INTEGERS], [INTEGERS], "static", "conversion", r"output of integers \(kernel\)"),
        (PLAIN, PLAIN, "dynamic", "unsupported", "nothing to quantise for quantisation=dynamic"),
        (PLAIN, PLAIN, "static", "unsupported", "nothing to quantise for quantisation=static"),
        (PLAIN, PLAIN, "float16", "unsupported", "nothing to quantise for quantisation=float16"),
    ],
)
def test_another_is_refused(
    tensors: list[Any], ends: list[Any], kind: str | None, error: str, words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        tensorflow_lite.require_quantised_as_asked(tensors, ends, kind, "keras>tflite")
    assert caught.value.kind == error


def interpreter(*operators: tuple[str, int]) -> Any:
    """With tensor 0 of float32 and 1 of int8, and operators that each give one of these."""
    tensors = [tensor("f", np.float32, 0, 0), tensor("i", np.int8, 1, 1)]
    rows = [{"op_name": name, "outputs": [place], "inputs": []} for name, place in operators]
    return SimpleNamespace(
        get_tensor_details=lambda: tensors, _get_ops_details=lambda: rows
    )  # fmt: skip


def test_integers_throughout_may_begin_and_end_with_floats() -> None:
    inside = interpreter(("QUANTIZE", 1), ("CONV_2D", 1), ("DEQUANTIZE", 0), ("DELEGATE", 0))
    tensorflow_lite.require_integers(inside, "keras>tflite")


def test_an_operator_left_in_float_is_named() -> None:
    inside = interpreter(("CONV_2D", 1), ("DEQUANTIZE", 0), ("SIN", 0), ("SIN", 0))
    with pytest.raises(RunnerError, match="kernel for SIN and left 2 of 3 operators") as caught:
        tensorflow_lite.require_integers(inside, "keras>tflite")
    assert caught.value.kind == "unsupported"


def test_operators_of_both_kinds_are_named() -> None:
    said = "not supported\nTF Select ops: Erf\nDetails:\nTF Custom ops: Foo, Bar\nDetails:"
    error = tensorflow_lite.refusal("keras>tflite", ValueError(said))
    assert "no operator for TensorFlow's Erf, Foo, Bar; make" in error.message


def test_the_option_is_taken_off_the_job_and_checked() -> None:
    known = ("batch", "quantisation")
    calibration = Calibration(Inputs("array", "x.npy", 1), (0,))
    options = {"batch": 2, "quantisation": "static"}
    job = ConvertJob("w", "keras>tflite", "s", "keras", "t", options, calibration)
    plain, kind = tensorflow_lite.taken(job, "keras>tflite", known)
    assert (plain.options, kind, plain.calibration) == ({"batch": 2}, "static", calibration)
    bare = ConvertJob("w", "keras>tflite", "s", "keras", "t", options)
    with pytest.raises(RunnerError, match="brings none"):
        tensorflow_lite.taken(bare, "keras>tflite", known)
    with pytest.raises(RunnerError, match="option 'opset'"):
        tensorflow_lite.taken(
            ConvertJob("w", "keras>tflite", "s", "keras", "t", {"opset": 17}), "keras>tflite", known
        )


def test_names_of_outputs_sort_as_they_are_numbered() -> None:
    names = tensorflow_trace.signature_names(12)
    assert (names[0], names[11]) == ("output_00", "output_11")
    assert sorted(names) == names
    assert tensorflow_trace.signature_names(2) == ["output_0", "output_1"]
