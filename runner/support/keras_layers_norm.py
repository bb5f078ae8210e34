"""Normalisation over batches, layers, instances and neighbouring channels."""

from __future__ import annotations

from typing import Dict, List

import numpy as np

from runner.support.keras_layout import plain, positive_axes
from runner.support.keras_step import Operator, Step
from runner.support.keras_values import Value

_EPSILON = 1e-5


def _only_output(step: Step) -> None:
    if len([name for name in step.node.output if name]) > 1:
        raise step.refuse("more than its first output is asked for; export it for inference")


def _batch_norm(step: Step) -> List[Value]:
    _only_output(step)
    if step.attributes.get("training_mode", 0) or not step.attributes.get("spatial", 1):
        raise step.refuse("it is not in inference mode over channels; export it for inference")
    flow = step.flow()
    place = flow.axes.index(1)
    layer = step.layer(
        "BatchNormalization",
        axis=-1 if place == flow.rank - 1 else place,
        epsilon=float(step.attributes.get("epsilon", _EPSILON)),
    )
    weights = [step.weights(index) for index in (1, 2, 3, 4)]
    return [step.alike(step.weighted(layer, flow.tensor, weights), flow)]


def _layer_norm(step: Step) -> List[Value]:
    _only_output(step)
    flow = step.flow()
    first = positive_axes([step.attributes.get("axis", -1)], flow.rank)[0]
    over = list(range(first, flow.rank))
    if len(over) > 1:
        flow = step.tensors.to_layout(flow, plain(flow.rank))
    sizes = tuple(flow.shapes[0][axis] for axis in over)
    scale = np.broadcast_to(step.weights(1), sizes)
    shift = np.broadcast_to(step.weights(2), sizes) if step.has(2) else None
    places = [flow.axes.index(axis) for axis in over]
    layer = step.layer(
        "LayerNormalization",
        axis=-1 if places == [flow.rank - 1] else places,
        epsilon=float(step.attributes.get("epsilon", _EPSILON)),
        center=shift is not None,
    )
    return [step.alike(step.weighted(layer, flow.tensor, [scale, shift]), flow)]


def _instance_norm(step: Step) -> List[Value]:
    flow = step.flow()
    channel = flow.axes.index(1)
    places = tuple(p for p in range(flow.rank) if flow.axes[p] not in (0, 1))
    if not places:
        raise step.refuse("its input has no axes to normalise over")
    subtract, multiply, mean = step.op("subtract"), step.op("multiply"), step.op("mean")
    shape = [1] * flow.rank
    shape[channel] = -1
    centred = subtract(flow.tensor, mean(flow.tensor, axis=places, keepdims=True))
    variance = mean(step.op("square")(centred), axis=places, keepdims=True)
    epsilon = float(step.attributes.get("epsilon", _EPSILON))
    scaled = multiply(centred, step.op("rsqrt")(step.op("add")(variance, epsilon)))
    scaled = multiply(scaled, step.weights(1).reshape(shape))
    return [step.alike(step.op("add")(scaled, step.weights(2).reshape(shape)), flow)]


def _lrn(step: Step) -> List[Value]:
    flow = step.flow()
    size, place = int(step.attributes["size"]), flow.axes.index(1)
    count = int(flow.tensor.shape[place])
    width = [(0, 0)] * flow.rank
    width[place] = ((size - 1) // 2, size - 1 - (size - 1) // 2)
    squares = step.op("pad")(step.op("square")(flow.tensor), tuple(width), constant_values=0.0)
    total = None
    for first in range(size):
        at = [slice(None)] * flow.rank
        at[place] = slice(first, first + count)
        part = squares[tuple(at)]
        total = part if total is None else step.op("add")(total, part)
    alpha = float(step.attributes.get("alpha", 1e-4)) / size
    bias = float(step.attributes.get("bias", 1.0))
    scale = step.op("add")(step.op("multiply")(total, alpha), bias)
    below = step.op("power")(scale, float(step.attributes.get("beta", 0.75)))
    return [step.alike(step.op("divide")(flow.tensor, below), flow, nonnegative=flow.nonnegative)]


OPERATORS: Dict[str, Operator] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
}
"""The functions by the operators that they convert."""
