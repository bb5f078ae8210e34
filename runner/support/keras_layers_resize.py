"""Making images larger or smaller."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

import numpy as np

from runner.support.keras_layers_elementwise import combine
from runner.support.keras_layers_shape import taken
from runner.support.keras_layout import CHANNELS_LAST
from runner.support.keras_step import Operator, Step
from runner.support.keras_values import Flow, Folded, Value
from runner.support.onnx_resize import Rules, Target, targets


def _resize(step: Step) -> List[Value]:
    attributes = step.attributes
    if attributes.get("antialias", 0) or attributes.get("exclude_outside", 0):
        raise step.refuse("it asks for antialias or exclude_outside")
    if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise step.refuse("it keeps the aspect ratio; give the sizes instead")
    newer = step.opset >= 11
    named = attributes.get("axes")
    axes = list(range(4)) if named is None else [axis % 4 for axis in named]
    sizes = step.integers("sizes", 3) if newer else None
    return _resized(step, axes, _floats(step, 2 if newer else 1), sizes or None)


def _upsample(step: Step) -> List[Value]:
    scales = step.attributes.get("scales")
    return _resized(step, range(4), _floats(step, 1) if scales is None else scales, None)


def _floats(step: Step, index: int) -> Optional[List[float]]:
    if not step.has(index):
        return None
    found = [float(one) for one in step.constant(index).reshape(-1)]
    return found or None


def _resized(
    step: Step,
    axes: Sequence[int],
    scales: Optional[Sequence[float]],
    sizes: Optional[Sequence[int]],
) -> List[Value]:
    rules = Rules.of(step.node.op_type, step.opset, step.attributes)
    if rules.mode not in ("nearest", "linear"):
        raise step.refuse(f"its mode is {rules.mode!r}; nearest and linear are supported")
    flow = step.flow(rank=4)
    try:
        found = targets(flow.shape, axes, scales, sizes)
    except ValueError as error:
        raise step.refuse(str(error)) from error
    if min(found, default=2) < 2:
        raise step.refuse("it resizes the batch or the channels")
    flow = step.tensors.to_layout(flow, CHANNELS_LAST)
    repeats = [1, 1]
    for axis, target in found.items():
        try:
            if rules.mode == "linear":
                flow = _interpolated(step, flow, target, rules, axis)
                continue
            sources = target.nearest(rules)
        except ValueError as error:
            raise step.refuse(f"its {error} is not supported") from error
        times = target.wanted // target.size
        if np.array_equal(sources, np.repeat(np.arange(target.size), times)):
            repeats[axis - 2] = times
        else:
            flow = taken(step, flow, sources, axis)
    if repeats != [1, 1]:
        layer = step.layer("UpSampling2D", tuple(repeats), data_format="channels_last")
        tensor = layer(flow.tensor)
        flow = step.result(tensor, CHANNELS_LAST, flow, nonnegative=flow.nonnegative)
    return [flow]


def _interpolated(step: Step, flow: Flow, target: Target, rules: Rules, axis: int) -> Flow:
    """Linear interpolation along one axis: two neighbours by their distance; edges repeat."""
    low, high, share = target.linear(rules)
    shape = [1] * 4
    shape[axis] = target.wanted
    share = share.reshape(shape)
    worlds = len(flow.shapes)
    near = combine(
        step, "multiply", taken(step, flow, low, axis), Folded((np.float32(1) - share,) * worlds)
    )
    far = combine(step, "multiply", taken(step, flow, high, axis), Folded((share,) * worlds))
    result = combine(step, "add", near, far)
    if not isinstance(result, Flow):
        raise step.refuse("it resizes a constant")
    return result


OPERATORS: Dict[str, Operator] = {"Resize": _resize, "Upsample": _upsample}
"""The functions by the operators that they convert."""
