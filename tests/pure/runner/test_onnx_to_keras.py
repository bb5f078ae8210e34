"""What is decided about a conversion to Keras before Keras has a word in it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.small_onnx import CASES, Small, floats, number, one

from runner.converters import onnx_to_keras, onnx_to_tflite
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import keras_engine, keras_graph, onnx_folding, onnx_patterns, tensorflow_lite
from runner.support.keras_engine import Keras
from runner.support.keras_step import Names
from runner.support.keras_values import Folded, fixed_sizes


def job(source: Path, **options: Any) -> ConvertJob:
    target = str(source.with_suffix(".keras"))
    return ConvertJob(str(source.parent), "onnx>keras", str(source), "onnx", target, options)


def fake_keras() -> Keras:
    """A library that makes inputs and nothing else."""

    def make(shape: Any, batch_size: Any, **_: Any) -> Any:
        return SimpleNamespace(shape=(batch_size, *shape))

    return Keras(SimpleNamespace(Input=make, layers=SimpleNamespace()), None, "jax", "3.15.1")


def refused(model: onnx.ModelProto) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        keras_graph.build(model, fake_keras(), None, "onnx>keras")
    return caught.value


def test_an_operator_without_a_conversion_is_named_with_its_node() -> None:
    error = refused(Small(one("NonMaxSuppression"), {}).model())
    assert error.kind == "unsupported"
    assert "operator NonMaxSuppression (node 'NonMaxSuppression_0')" in error.message
    assert "export it without this operator" in error.message


def test_an_operator_of_one_runtime_is_refused() -> None:
    model = Small(one("Relu")).model()
    model.graph.node[0].domain = "com.microsoft"
    assert "domain 'com.microsoft' is not ONNX's own" in refused(model).message


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_that_are_not_float32_are_refused(dtype: type) -> None:
    small = Small(one("Conv", "x w"), {"w": floats(5, 4, 3, 3).astype(dtype)})
    model = small.model()
    error = refused(model)
    assert error.kind == "unsupported"
    assert f"input 1 ('w') is {np.dtype(dtype)}" in error.message
    assert "float32 weights" in error.message


def test_an_input_that_is_not_float32_is_refused() -> None:
    model = Small(one("Relu")).model()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    error = refused(model)
    assert (error.kind, "'x' is not float32" in error.message) == ("unsupported", True)


def test_an_old_opset_is_refused() -> None:
    assert "opset 6 and 7 is the oldest" in refused(Small(one("Relu"), opset=6).model()).message


def test_weights_that_are_computed_are_refused() -> None:
    nodes = [("Conv", "x x", "y", {})]
    assert "input 1 ('x') must be a constant" in refused(Small(nodes).model()).message


def test_an_output_that_is_constant_is_refused() -> None:
    nodes = [("Identity", "c", "y", {})]
    error = refused(Small(nodes, {"c": floats(3)}).model())
    assert "the output 'y' does not depend on the input" in error.message


def test_a_node_that_reads_nothing_is_a_broken_model() -> None:
    error = refused(Small([("Relu", "absent", "y", {})]).model())
    assert (error.kind, "Relu reads 'absent'" in error.message) == ("model", True)


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    model = Small(one("Relu")).model()
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(RunnerError, match=r"takes 2 inputs \(x, z\)"):
        onnx_to_keras.convert(job(tmp_path / "m.onnx"))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08not a model")
    with pytest.raises(RunnerError) as caught:
        onnx_to_keras.convert(job(tmp_path / "m.onnx"))
    assert caught.value.kind == "model"


@pytest.mark.parametrize("converter", [onnx_to_keras, onnx_to_tflite])
def test_an_unknown_option_is_refused(tmp_path: Path, converter: Any) -> None:
    with pytest.raises(RunnerError, match="does not support the option 'quantise'"):
        converter.convert(job(tmp_path / "m.onnx", quantise=True))


def test_an_open_size_asks_for_the_item_shape(tmp_path: Path) -> None:
    onnx.save(Small(one("Relu"), {}, ["N", 3, "H", "W"]).model(), tmp_path / "m.onnx")
    with pytest.raises(RunnerError, match="give the option item_shape"):
        onnx_to_keras.convert(job(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("asked", "installed", "expected"),
    [
        (None, ("tensorflow", "jax", "torch"), "tensorflow"),
        (None, ("torch",), "torch"),
        ("jax", ("tensorflow", "jax"), "jax"),
    ],
)
def test_the_engine_is_the_one_asked_for_or_the_first_there_is(
    asked: str | None, installed: tuple[str, ...], expected: str
) -> None:
    assert keras_engine.choose(asked, installed) == expected


@pytest.mark.parametrize(
    ("asked", "installed", "message"),
    [
        ("numpy", ("torch",), "KERAS_BACKEND=numpy is not an engine"),
        ("jax", ("torch",), "can't run on jax here, as asked for; it can on: torch"),
        (None, (), "Keras needs an engine and none is installed"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(
    asked: str | None, installed: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RunnerError, match=message) as caught:
        keras_engine.choose(asked, installed)
    assert caught.value.kind == "unsupported"


def test_a_conversion_sees_no_gpu() -> None:
    environment: dict[str, str] = {"CUDA_VISIBLE_DEVICES": "0"}
    keras_engine.prepare_environment(environment, "jax")
    assert environment == {
        "KERAS_BACKEND": "jax",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
    }


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 3, 224, 224), (0, 2, 3, 1)),
        ((1, 224, 224, 3), (0, 1, 2, 3)),
        ((1, 3, 4, 3), (0, 2, 3, 1)),
        ((1, 10), (0, 1)),
    ],
)
def test_images_are_channels_last_unless_they_are_already(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    assert keras_graph.input_layout(shape) == axes


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("gelu_from_erf", "Gelu"),
        ("silu_from_sigmoid", "Silu"),
        ("mish_from_softplus", "Mish"),
        ("hardswish_from_hard_sigmoid", "HardSwish"),
        ("matmul_bias", "Linear"),
    ],
)
def test_an_idiom_of_exporters_becomes_one_node(case: str, kind: str) -> None:
    nodes = onnx_patterns.rewritten(CASES[case].model().graph)
    assert [(node.op_type, node.domain, list(node.output)) for node in nodes] == [
        (kind, onnx_patterns.DOMAIN, ["y"])
    ]


def test_an_idiom_whose_inside_is_read_elsewhere_stays() -> None:
    nodes = [("Sigmoid", "x", "s", {}), ("Mul", "x s", "m", {}), ("Add", "m s", "y", {})]
    left = onnx_patterns.rewritten(Small(nodes).model().graph)
    assert [node.op_type for node in left] == ["Sigmoid", "Mul", "Add"]


@pytest.mark.parametrize("wrong", ["half", "root", "one"])
def test_other_numbers_make_no_gelu(wrong: str) -> None:
    small = CASES["gelu_from_erf"]
    changed = Small(small.nodes, {**small.constants, wrong: number(0.7)})
    left = onnx_patterns.rewritten(changed.model().graph)
    assert [node.op_type for node in left] == ["Div", "Erf", "Add", "Mul", "Mul"]


def test_a_node_of_constants_is_computed_ahead() -> None:
    node = helper.make_node("Clip", ["c", "", "high"], ["y"])
    inputs = [np.array([1, 5], np.float32), None, np.array(2, np.float32)]
    (got,) = onnx_folding.evaluate(node, inputs, {"": 17})
    np.testing.assert_array_equal(got, np.array([1, 2], np.float32))


def test_a_constant_as_long_as_the_batch_is_folded_to_one() -> None:
    row = floats(1, 1, 4)
    token = Folded((np.repeat(row, 3, axis=0), np.repeat(row, 5, axis=0)))
    np.testing.assert_array_equal(token.array(), row)
    assert fixed_sizes(token.shapes) == (None, 1, 4)
    with pytest.raises(ValueError, match="depends on the batch"):
        Folded((np.arange(3), np.arange(5))).array()


def test_layers_never_share_a_name() -> None:
    names = Names()
    assert names.new(3, "/features/0/Conv") == "n3_features_0_Conv"
    assert names.new(3, "/features/0/Conv", "pad") == "n3_features_0_Conv_pad"
    assert names.new(3, "/features/0/Conv") == "n3_features_0_Conv_2"


def test_what_tensorflow_lite_lacks_is_said_by_name() -> None:
    said = "Some ops are not supported\nTF Select ops: Erf, Foo\nDetails:\n\ttf.Erf(...)"
    error = tensorflow_lite.refusal("onnx>tflite", ValueError(said))
    assert error.kind == "unsupported"
    assert "no operator for TensorFlow's Erf, Foo; make" in error.message
    assert tensorflow_lite.refusal("onnx>tflite", ValueError("no")).kind == "conversion"
