"""What is read from OpenVINO's executed graph, in either form that its versions give it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner.support import openvino_graph


def operation(layer: str, primitive: str, precision: str, *, wrapped: bool) -> Any:
    about: dict[str, Any] = {
        "layerType": layer,
        "primitiveType": primitive,
        "runtimePrecision": precision,
    }
    if wrapped:
        about = {name: SimpleNamespace(value=value) for name, value in about.items()}
    return SimpleNamespace(get_rt_info=lambda: about)


def compiled(*layers: tuple[str, str, str], wrapped: bool = False) -> Any:
    operations = [operation(*layer, wrapped=wrapped) for layer in layers]
    model = SimpleNamespace(get_ops=lambda: operations)
    return SimpleNamespace(get_runtime_model=lambda: model)


LAYERS = (
    ("Input", "unknown_f32", "f32"),
    ("Const", "unknown_f32", "f32"),
    ("Reorder", "jit_uni_f32", "f32"),
    ("Convolution", "brgconv_avx512_bf16", "bf16"),
    ("Convolution", "brgconv_avx512_bf16", "bf16"),
    ("Output", "unknown_f32", "f32"),
)


@pytest.mark.parametrize("wrapped", [False, True])
def test_layers_are_counted_by_kind_and_primitive_without_the_graphs_ends(wrapped: bool) -> None:
    nodes = openvino_graph.nodes(compiled(*LAYERS, wrapped=wrapped))
    assert openvino_graph.by_primitive(nodes) == {
        "Convolution (brgconv_avx512_bf16)": 2,
        "Reorder (jit_uni_f32)": 1,
    }


def test_a_model_computes_in_the_formats_of_its_heavy_layers_or_of_all_where_none_is() -> None:
    nodes = openvino_graph.nodes(compiled(*LAYERS, ("MatMul", "gemm_f32", "f32")))
    assert openvino_graph.computes_in(nodes) == ["bfloat16", "float32"]
    assert openvino_graph.computes_in(nodes[:1]) == ["float32"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("f32", "float32"), ("u8", "uint8"), ("i64", "int64"), ("boolean", "bool"), ("f8e4m3",) * 2],
)
def test_number_formats_have_numpys_names(kind: str, name: str) -> None:
    assert openvino_graph.numpy_name(kind) == name


def test_below_float32_are_the_short_floats_and_not_a_quantised_models_integers() -> None:
    nodes = openvino_graph.nodes(compiled(*LAYERS, ("Convolution", "jit_i8", "i8")))
    assert openvino_graph.reduced(nodes) == ("bf16",)
    assert openvino_graph.reduced(nodes[-1:]) == ()


def test_what_a_version_does_not_tell_is_unknown() -> None:
    silent = SimpleNamespace(get_rt_info=dict)
    model = SimpleNamespace(get_ops=lambda: [silent])
    (node,) = openvino_graph.nodes(SimpleNamespace(get_runtime_model=lambda: model))
    assert node == ("unknown", "unknown", "unknown")


def test_weights_that_lie_as_float16_are_no_computation_in_float16() -> None:
    """OpenVINO tells f16 of a convolution in float32 whose weights a file holds as float16."""
    stored = ("Convolution", "brgconv_avx512_f32", "f16")
    nodes = openvino_graph.nodes(compiled(stored))
    assert openvino_graph.computes_in(nodes) == ["float32"]
    assert openvino_graph.reduced(nodes) == ()
    nodes = openvino_graph.nodes(compiled(stored, ("Convolution", "brgconv_avx512_f16", "f16")))
    assert openvino_graph.reduced(nodes) == ("f16",)
