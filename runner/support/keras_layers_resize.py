"""Making images larger or smaller."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner.support.keras_layers_elementwise import combine
from runner.support.keras_layers_shape import taken
from runner.support.keras_layout import (
    CHANNELS_LAST,
    nearest_sources,
    resize_coordinates,
)
from runner.support.keras_step import Operator, Step
from runner.support.keras_values import Flow, Folded, Value

Target = Tuple[int, float]
"""The size of an axis and the scale that leads to it."""


def _resize(step: Step) -> List[Value]:
    attributes = step.attributes
    if attributes.get("antialias", 0) or attributes.get("exclude_outside", 0):
        raise step.refuse("it asks for antialias or exclude_outside")
    if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise step.refuse("it keeps the aspect ratio; give the sizes instead")
    flow = step.flow(rank=4)
    newer = step.opset >= 11
    scales = _floats(step, 2 if newer else 1)
    sizes = step.integers("sizes", 3) if newer else None
    named = attributes.get("axes")
    axes = list(range(4)) if named is None else [axis % 4 for axis in named]
    coordinates = attributes.get("coordinate_transformation_mode", "half_pixel")
    return _resized(
        step,
        flow,
        _targets(step, flow, axes, scales, sizes),
        attributes.get("mode", "nearest"),
        coordinates if newer else "asymmetric",
        attributes.get("nearest_mode", "round_prefer_floor") if newer else "floor",
    )


def _upsample(step: Step) -> List[Value]:
    scales = step.attributes.get("scales")
    scales = _floats(step, 1) if scales is None else scales
    flow = step.flow(rank=4)
    targets = _targets(step, flow, list(range(4)), scales, None)
    return _resized(
        step, flow, targets, step.attributes.get("mode", "nearest"), "asymmetric", "floor"
    )


def _floats(step: Step, index: int) -> Optional[List[float]]:
    if not step.has(index):
        return None
    found = [float(one) for one in step.constant(index).reshape(-1)]
    return found or None


def _targets(
    step: Step,
    flow: Flow,
    axes: Sequence[int],
    scales: Optional[Sequence[float]],
    sizes: Optional[Sequence[int]],
) -> Dict[int, Target]:
    """The axes that change, with what they change to."""
    if scales is None and not sizes:
        raise step.refuse("neither scales nor sizes are constant")
    targets = {}
    for index, axis in enumerate(axes):
        size = flow.shape[axis]
        if size is None or axis < 2:
            if scales is not None and scales[index] != 1:
                raise step.refuse("it resizes the batch or the channels")
            continue
        if scales is not None:
            target = (int(np.floor(size * scales[index])), float(scales[index]))
        else:
            wanted = int((sizes or [])[index])
            target = (wanted, wanted / size)
        if target[0] != size:
            targets[axis] = target
    return targets


def _resized(
    step: Step, flow: Flow, targets: Dict[int, Target], mode: str, coordinates: str, nearest: str
) -> List[Value]:
    if mode not in ("nearest", "linear"):
        raise step.refuse(f"its mode is {mode!r}; nearest and linear are supported")
    flow = step.tensors.to_layout(flow, CHANNELS_LAST)
    repeats = [1, 1]
    for axis, (wanted, scale) in targets.items():
        size = int(flow.shapes[0][axis])
        try:
            places = resize_coordinates(size, wanted, scale, coordinates)
            sources = nearest_sources(places, size, nearest if mode == "nearest" else "floor")
        except ValueError as error:
            raise step.refuse(f"its {error} is not supported") from error
        if mode == "linear":
            flow = _interpolated(step, flow, places, axis)
        elif wanted % size == 0 and (sources == np.repeat(np.arange(size), wanted // size)).all():
            repeats[axis - 2] = wanted // size
        else:
            flow = taken(step, flow, sources, axis)
    if repeats != [1, 1]:
        layer = step.layer("UpSampling2D", tuple(repeats), data_format="channels_last")
        tensor = layer(flow.tensor)
        flow = step.result(tensor, CHANNELS_LAST, flow, nonnegative=flow.nonnegative)
    return [flow]


def _interpolated(step: Step, flow: Flow, places: np.ndarray, axis: int) -> Flow:
    """Linear interpolation along one axis: two neighbours by their distance; edges repeat."""
    size = int(flow.shapes[0][axis])
    places = np.clip(places, 0, size - 1)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    shape = [1] * 4
    shape[axis] = len(places)
    share = (places - low).astype(np.float32).reshape(shape)
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
