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


def test_the_precision_is_that_of_the_heavy_layers_and_the_hint_where_there_are_none() -> None:
    nodes = openvino_graph.nodes(compiled(*LAYERS))
    assert openvino_graph.precision(nodes, "dynamic") == "bf16"
    assert openvino_graph.precision(nodes[:1], "dynamic") == "dynamic"


def test_below_float32_are_the_short_floats_and_not_a_quantised_models_integers() -> None:
    nodes = openvino_graph.nodes(compiled(*LAYERS, ("Convolution", "jit_i8", "i8")))
    assert openvino_graph.reduced(nodes) == ("bf16",)
    assert openvino_graph.reduced(nodes[-1:]) == ()


def test_what_a_version_does_not_tell_is_unknown() -> None:
    silent = SimpleNamespace(get_rt_info=dict)
    model = SimpleNamespace(get_ops=lambda: [silent])
    (node,) = openvino_graph.nodes(SimpleNamespace(get_runtime_model=lambda: model))
    assert node == ("unknown", "unknown", "unknown")
