"""The quick sweep's network: the shape of MobileNetV2, seeded weights, fitted batch norms.

The forward pass here is float64 NumPy, so that what is fitted does not depend on a framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from harness.models.quick_images import Draws

Floats = NDArray[np.float64]

SIDE = 128
STEM = 32
BLOCKS = (
    # expansion, channels, repeats, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 128, 1, 2),
)
FEATURES = 320
EPSILON = 1e-3
_GRID = 2.0**-14


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with batch norm: `weights` [out, in / groups, k, k], all values float32.

    Attributes:
        name: prefix of its tensors.
        weights: the kernel.
        stride: of both axes; the padding keeps the size at stride 1.
        depthwise: one filter a channel.
        gamma: scale of the batch norm [out].
        beta: shift [out].
        mean: fitted [out].
        variance: fitted [out].
        clipped: followed by a clip to 0..6.
        adds: the number of convolutions back whose input is added to the output, 0 for none.
    """

    name: str
    weights: Floats
    stride: int
    depthwise: bool
    gamma: Floats
    beta: Floats
    mean: Floats
    variance: Floats
    clipped: bool
    adds: int


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    depthwise: bool
    clipped: bool
    adds: int


def _plans() -> list[_Plan]:
    plans = [_Plan("stem", 3, STEM, 3, 2, False, True, 0)]
    channels = STEM
    for stage, (expansion, width, repeats, first_stride) in enumerate(BLOCKS):
        for repeat in range(repeats):
            name = f"block{stage}.{repeat}"
            stride = first_stride if repeat == 0 else 1
            inner = channels * expansion
            if expansion > 1:
                plans.append(_Plan(f"{name}.expand", channels, inner, 1, 1, False, True, 0))
            plans.append(_Plan(f"{name}.depthwise", inner, inner, 3, stride, True, True, 0))
            adds = 3 if stride == 1 and channels == width and expansion > 1 else 0
            plans.append(_Plan(f"{name}.project", inner, width, 1, 1, False, False, adds))
            channels = width
    plans.append(_Plan("features", channels, FEATURES, 1, 1, False, True, 0))
    return plans


def fit_network(images: Floats, seed: int) -> list[Convolution]:
    """Draw He-uniform weights and fit each batch norm on what reaches it.

    Args:
        images: normalised inputs, float64 [N, SIDE, SIDE, 3].
        seed: of the weights.
    """
    draws = Draws(seed)
    layers: list[Convolution] = []
    history = [images]
    for plan in _plans():
        fan_in = (1 if plan.depthwise else plan.inputs) * plan.kernel**2
        shape = (plan.outputs, 1 if plan.depthwise else plan.inputs, plan.kernel, plan.kernel)
        weights = _single((2 * draws.uniform(*shape) - 1) * np.sqrt(6.0 / fan_in))
        gamma = _single(0.75 + 0.5 * draws.uniform(plan.outputs))
        beta = _single(0.5 * draws.uniform(plan.outputs))
        raw = _convolve(history[-1], weights, plan.stride, depthwise=plan.depthwise)
        layer = Convolution(
            plan.name,
            weights,
            plan.stride,
            plan.depthwise,
            gamma,
            beta,
            # On a coarse grid, so that machines whose sums differ in the last bits agree.
            _single(np.round(raw.mean(axis=(0, 1, 2)) / _GRID) * _GRID),
            _single(np.round(raw.var(axis=(0, 1, 2)) / _GRID) * _GRID + _GRID),
            plan.clipped,
            plan.adds,
        )
        layers.append(layer)
        history.append(_finish(raw, layer, history))
        history = history[-4:]
    return layers


def features(images: Floats, layers: list[Convolution]) -> Floats:
    """The averaged last layer: float64 [N, FEATURES], from inputs [N, SIDE, SIDE, 3]."""
    history = [images]
    for layer in layers:
        raw = _convolve(history[-1], layer.weights, layer.stride, depthwise=layer.depthwise)
        history.append(_finish(raw, layer, history))
        history = history[-4:]
    return np.asarray(history[-1].mean(axis=(1, 2)))


def _single(values: Floats) -> Floats:
    """Float64 that hold exactly what the file will hold."""
    return values.astype(np.float32).astype(np.float64)


def _finish(raw: Floats, layer: Convolution, history: list[Floats]) -> Floats:
    scale = layer.gamma / np.sqrt(layer.variance + np.float64(np.float32(EPSILON)))
    out = raw * scale
    out += layer.beta - layer.mean * scale
    if layer.clipped:
        np.clip(out, 0.0, 6.0, out=out)
    if layer.adds:
        out += history[-layer.adds]
    return out


def _convolve(x: Floats, weights: Floats, stride: int, *, depthwise: bool) -> Floats:
    kernel = weights.shape[2]
    if kernel == 1:
        return np.asarray(x @ weights[:, :, 0, 0].T)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height = (x.shape[1] - 1) // stride + 1
    width = (x.shape[2] - 1) // stride + 1
    out = np.zeros((x.shape[0], height, width, weights.shape[0]))
    product = np.empty_like(out)
    for i in range(kernel):
        for j in range(kernel):
            part = padded[:, i : i + stride * height : stride, j : j + stride * width : stride]
            part = part[:, :height, :width]
            if depthwise:
                np.multiply(part, weights[:, 0, i, j], out=product)
            else:
                np.matmul(part, weights[:, :, i, j].T, out=product)
            out += product
    return out


def to_onnx(layers: list[Convolution], head: Floats, bias: Floats) -> Any:
    """The network with its head as an ONNX model (opset 17, IR version 8, open batch).

    Args:
        layers: the fitted layers.
        head: float32 values [classes, FEATURES].
        bias: float32 values [classes].
    """
    nodes: list[Any] = []
    weights: list[Any] = []

    def constant(name: str, values: Floats) -> str:
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    low, high = constant("low", np.array(0.0)), constant("high", np.array(6.0))
    values = ["input"]
    for layer in layers:
        name, kernel = layer.name, layer.weights.shape[2]
        nodes.append(
            helper.make_node(
                "Conv",
                [values[-1], constant(f"{name}.weight", layer.weights)],
                [f"{name}.conv"],
                name=f"{name}.conv",
                kernel_shape=[kernel, kernel],
                strides=[layer.stride] * 2,
                pads=[kernel // 2] * 4,
                group=layer.weights.shape[0] if layer.depthwise else 1,
            )
        )
        statistics = [
            constant(f"{name}.{part}", getattr(layer, part))
            for part in ("gamma", "beta", "mean", "variance")
        ]
        nodes.append(
            helper.make_node(
                "BatchNormalization",
                [f"{name}.conv", *statistics],
                [f"{name}.norm"],
                name=f"{name}.norm",
                epsilon=EPSILON,
            )
        )
        last = f"{name}.norm"
        if layer.clipped:
            nodes.append(
                helper.make_node("Clip", [last, low, high], [f"{name}.clip"], name=f"{name}.clip")
            )
            last = f"{name}.clip"
        if layer.adds:
            added = values[-layer.adds]
            nodes.append(
                helper.make_node("Add", [last, added], [f"{name}.add"], name=f"{name}.add")
            )
            last = f"{name}.add"
        values.append(last)
    nodes += [
        helper.make_node("GlobalAveragePool", [values[-1]], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node(
            "Gemm",
            ["flat", constant("head.weight", head), constant("head.bias", bias)],
            ["logits"],
            name="head",
            transB=1,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "quick",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(bias)])],
        weights,
        doc_string="Seeded weights for trying environments; trained on nothing.",
    )
    return helper.make_model(
        graph,
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
        producer_name="deltann-harness",
    )
