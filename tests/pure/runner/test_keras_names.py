"""PyTorch's names beside Keras's layers, and the descriptions of models that are edited."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner import architectures
from runner.errors import RunnerError
from runner.support import keras_architecture, keras_architecture_config, keras_names_rows
from runner.support.keras_engine import Keras
from runner.support.keras_names_rows import Row, slots

APPLICATIONS = {
    name: application.rows for name, application in keras_architecture._APPLICATIONS.items()
}
# Convolutions, batch or layer norms, linear layers and layer scales of each network's paper.
LAYERS = {
    "mobilenet_v2": 52 + 52 + 1,
    "resnet101_v2": 104 + 100 + 1,
    "densenet121": 120 + 121 + 1,
    "inception_v3": 94 + 94 + 1,
    "resnet50": 53 + 53 + 1,
    "efficientnet_b0": 81 + 49 + 1,
    "mobilenet_v3_large": 62 + 46 + 2,
    "convnext_tiny": 22 + 23 + 37 + 18,
}


def test_every_architecture_of_keras_has_names_and_no_other() -> None:
    known = [name for name in architectures.names() if architectures.find(name).keras]
    assert sorted(known) == sorted(APPLICATIONS) == sorted(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("major", [2, 3])
def test_each_layer_and_each_module_is_named_once(name: str, major: int) -> None:
    rows = list(APPLICATIONS[name](major))
    assert len(rows) == LAYERS[name]
    assert len({row.layer for row in rows}) == len({row.source for row in rows}) == len(rows)
    assert rows[-1].source == architectures.find(name).head


@pytest.mark.parametrize("name", LAYERS)
def test_the_batch_norm_of_a_convolution_is_the_one_that_folding_knows(name: str) -> None:
    rows = {row.source: row for row in APPLICATIONS[name](3)}
    norm_of = architectures.find(name).norm_of
    found = [norm_of(row.source) for row in rows.values() if row.kind in ("conv", "depthwise")]
    named = [rows[norm] for norm in found if norm in rows]
    assert all(row.kind == "norm" for row in named)
    assert len(named) == (0 if name == "convnext_tiny" else len({row.layer for row in named}))


def test_keras_2_names_the_layers_of_mobilenet_v3_in_its_own_way() -> None:
    old, new = (list(APPLICATIONS["mobilenet_v3_large"](major)) for major in (2, 3))
    named = {(a.layer, b.layer) for a, b in zip(old, new, strict=True)}
    assert ("expanded_conv_3/squeeze_excite/Conv_1", "expanded_conv_3_squeeze_excite_conv_1") in (
        named
    )
    assert ("expanded_conv/depthwise/BatchNorm", "expanded_conv_depthwise_bn") in named
    assert [row.source for row in old] == [row.source for row in new]


def variable(*shape: int) -> Any:
    return SimpleNamespace(shape=shape)


def test_a_convolution_is_laid_out_anew() -> None:
    layer = SimpleNamespace(kernel=variable(3, 5, 2, 4), bias=variable(4))
    kernel, bias = slots(Row("c", "conv", "features.0"), layer)
    assert (kernel.name, kernel.shape) == ("features.0.weight", (4, 2, 3, 5))
    assert (bias.name, bias.shape) == ("features.0.bias", (4,))
    array = np.arange(4 * 2 * 3 * 5, dtype=np.float32).reshape(4, 2, 3, 5)
    value = kernel.value(array)
    assert value.shape == (3, 5, 2, 4)
    assert value[2, 4, 1, 3] == array[3, 1, 2, 4]


@pytest.mark.parametrize("attribute", ["kernel", "depthwise_kernel"])
def test_a_depthwise_convolution_is_laid_out_anew(attribute: str) -> None:
    layer = SimpleNamespace(**{attribute: variable(3, 5, 6, 1)}, bias=None)
    (kernel,) = slots(Row("d", "depthwise", "d"), layer)
    array = np.arange(6 * 3 * 5, dtype=np.float32).reshape(6, 1, 3, 5)
    assert kernel.shape == array.shape
    assert kernel.value(array)[1, 4, 5, 0] == array[5, 0, 1, 4]


def test_a_linear_layer_stands_for_a_convolution_and_the_other_way_round() -> None:
    as_conv = SimpleNamespace(kernel=variable(1, 1, 3, 2), bias=variable(2))
    (linear, _) = slots(Row("a", "linear_as_conv", "a"), as_conv)
    assert linear.shape == (2, 3)
    assert linear.value(np.array([[1, 2, 3], [4, 5, 6]], "f4"))[0, 0].tolist() == [
        [1, 4],
        [2, 5],
        [3, 6],
    ]
    as_linear = SimpleNamespace(kernel=variable(3, 2), bias=variable(2))
    (conv, _) = slots(Row("b", "conv_as_linear", "b"), as_linear)
    assert conv.shape == (2, 3, 1, 1)
    assert conv.value(np.arange(6, dtype="f4").reshape(2, 3, 1, 1)).tolist() == [
        [0, 3],
        [1, 4],
        [2, 5],
    ]


def test_a_norm_without_gamma_still_names_the_array_that_it_has_no_place_for() -> None:
    kept = variable(4)
    layer = SimpleNamespace(gamma=None, beta=kept, moving_mean=kept, moving_variance=kept)
    found = slots(Row("n", "norm", "bn"), layer)
    assert [(slot.name, slot.variable is None) for slot in found] == [
        ("bn.weight", True),
        ("bn.bias", False),
        ("bn.running_mean", False),
        ("bn.running_var", False),
    ]
    assert {slot.shape for slot in found} == {(4,)}


def test_a_layer_scale_is_a_vector_or_a_depthwise_kernel() -> None:
    for layer in (
        SimpleNamespace(gamma=variable(3)),
        SimpleNamespace(depthwise_kernel=variable(1, 1, 3, 1)),
    ):
        (slot,) = slots(Row("s", "scale", "layer_scale"), layer)
        assert (slot.name, slot.shape) == ("layer_scale", (3, 1, 1))
        assert slot.value(np.array([[[1]], [[2]], [[3]]], "f4")).ravel().tolist() == [1, 2, 3]


def _keras_3(name: str) -> dict[str, Any]:
    history = {"keras_history": [name, 0, 0], "shape": (None, 4)}
    return {"args": ({"class_name": "__keras_tensor__", "config": history},), "kwargs": {}}


@pytest.mark.parametrize(
    ("major", "fed"),
    [
        (3, lambda name: [_keras_3(name)]),
        (2, lambda name: [[[name, 0, 0, {}]]]),
        (2, lambda name: [[name, 0, 0, {"y": 3.0, "name": None}]]),
    ],
)
def test_a_layer_is_put_between_and_taken_out(major: int, fed: Any) -> None:
    entry = {"class_name": "ZeroPadding2D", "config": {"name": "new"}}
    keras = Keras(
        SimpleNamespace(saving=SimpleNamespace(serialize_keras_object=lambda _: dict(entry))),
        None,
        "tensorflow",
        f"{major}.0",
    )
    layers = [
        {"class_name": "InputLayer", "config": {"name": "a"}, "inbound_nodes": []},
        {"class_name": "Rescaling", "config": {"name": "b"}, "inbound_nodes": fed("a")},
        {
            "class_name": "Conv2D",
            "config": {"name": "c", "padding": "same"},
            "build_config": {"input_shape": (None, 4)},
            "inbound_nodes": fed("b"),
        },
    ]
    model = SimpleNamespace(get_config=lambda: {"layers": layers})
    description = keras_architecture_config.Description(keras, model)
    assert not description.changed
    description.insert_before("c", SimpleNamespace(name="new"))
    assert description.fed_by("c") == ["new"]
    assert description.fed_by("new") == ["b"]
    description.remove("b")
    assert description.fed_by("new") == ["a"]
    description.update("c", padding="valid")
    assert description.settings("c")["padding"] == "valid"
    assert description.names("Conv2D", "ZeroPadding2D") == ["c", "new"]
    assert description.changed
    assert layers[2]["config"] == {"name": "c", "padding": "same"}


def test_what_keras_has_not_got_is_refused_with_what_to_use() -> None:
    keras: Any = None
    head = {"heads.head.weight": np.zeros((5, 8), np.float32)}
    with pytest.raises(RunnerError, match=r"no vit_b_16: use a PyTorch") as refused:
        keras_architecture.of_arrays(keras, "vit_b_16", head, {})
    assert refused.value.kind == "unsupported"
    small = {"fc.weight": np.zeros((5, 2048), np.float32)}
    with pytest.raises(RunnerError, match=r"at least 75 pixels a side, and \[3, 64, 64\] was"):
        keras_architecture.of_arrays(keras, "inception_v3", small, {}, (3, 64, 64))


def test_a_slot_gives_float32_in_one_piece() -> None:
    slot = keras_names_rows.Slot("w", (2, 3), variable(3, 2), (1, 0))
    value = slot.value(np.arange(6, dtype=np.float64).reshape(2, 3))
    assert value.dtype == np.float32
    assert value.flags.c_contiguous
