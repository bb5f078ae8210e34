"""Operators that slide a window over an image: convolutions and pooling."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner.support.keras_layout import CHANNELS_LAST, keras_padding
from runner.support.keras_step import Operator, Step
from runner.support.keras_values import Flow, Value
from runner.support.onnx_window import Pads, Window, resolve_pads

_LOWEST = float(np.finfo(np.float32).min)
_LAST = {"data_format": "channels_last"}


def _windows(step: Step, image: Flow, kernel: Sequence[int]) -> List[Window]:
    """The two windows of an image operator."""
    strides = step.attributes.get("strides", [1, 1])
    dilations = step.attributes.get("dilations", [1, 1])
    sizes = image.shapes[0][2:]
    if any(image.shape[axis] is None for axis in (2, 3)):
        raise step.refuse("the height or width of its input depends on the batch")
    return [Window(*map(int, each)) for each in zip(sizes, kernel, strides, dilations)]


def _pads(step: Step, windows: Sequence[Window]) -> List[Pads]:
    auto_pad = step.attributes.get("auto_pad", "NOTSET")
    pads = resolve_pads(windows, step.attributes.get("pads", []), auto_pad)
    if any(size < 0 for pad in pads for size in pad):
        raise step.refuse(f"negative pads {pads}", "crop by a Slice instead")
    return pads


def _pad_image(step: Step, tensor: Any, pads: Sequence[Pads], value: float = 0.0) -> Any:
    if not any(map(sum, pads)):
        return tensor
    if value == 0:
        return step.layer("ZeroPadding2D", tuple(pads), role="pad", **_LAST)(tensor)
    return step.op("pad")(tensor, ((0, 0), *pads, (0, 0)), constant_values=value)


def _conv(step: Step) -> List[Value]:
    image, weights = step.image(), step.weights(1)
    bias = step.weights(2) if step.has(2) else None
    windows = _windows(step, image, weights.shape[2:])
    strides, dilations = (tuple(getattr(w, n) for w in windows) for n in ("stride", "dilation"))
    if max(strides) > 1 and max(dilations) > 1:
        raise step.refuse(
            f"strides {strides} together with dilations {dilations}; Keras has one or the other"
        )
    pads = _pads(step, windows)
    padding = keras_padding(windows, pads)
    tensor = image.tensor
    if padding == "explicit":
        tensor, padding = _pad_image(step, tensor, pads), "valid"
    settings = {
        "strides": strides,
        "padding": padding,
        "dilation_rate": dilations,
        "use_bias": bias is not None,
        **_LAST,
    }
    layer, kernel = _conv_layer(step, image, weights, settings)
    result = step.weighted(layer, tensor, [kernel, bias])
    return [step.result(result, CHANNELS_LAST, image)]


def _conv_layer(
    step: Step, image: Flow, weights: np.ndarray, settings: Dict[str, Any]
) -> Tuple[Any, np.ndarray]:
    """The layer and its kernel: depthwise where each channel has filters of its own."""
    group, size = int(step.attributes.get("group", 1)), weights.shape[2:]
    channels, filters = image.shapes[0][1], weights.shape[0]
    # TensorFlow's depthwise convolution takes one stride for both axes.
    even = len(set(settings["strides"])) == 1
    if group == channels and group > 1 and weights.shape[1] == 1 and even:
        multiplier = filters // group
        kernel = weights.reshape(group, multiplier, *size).transpose(2, 3, 0, 1)
        layer = step.layer(
            "DepthwiseConv2D",
            size,
            depth_multiplier=multiplier,
            depthwise_initializer="zeros",
            **settings,
        )
        return layer, kernel
    layer = step.layer(
        "Conv2D", filters, size, groups=group, kernel_initializer="zeros", **settings
    )
    return layer, weights.transpose(2, 3, 1, 0)


def _conv_transpose(step: Step) -> List[Value]:
    image, weights = step.image(), step.weights(1)
    bias = step.weights(2) if step.has(2) else None
    windows = _windows(step, image, weights.shape[2:])
    group = int(step.attributes.get("group", 1))
    if group != 1 or any(window.dilation != 1 for window in windows):
        dilations = [window.dilation for window in windows]
        raise step.refuse(f"group {group} and dilations {dilations}; Keras has 1 for both")
    layer = step.layer(
        "Conv2DTranspose",
        weights.shape[1],
        weights.shape[2:],
        strides=tuple(window.stride for window in windows),
        padding="valid",
        use_bias=bias is not None,
        kernel_initializer="zeros",
        **_LAST,
    )
    tensor = step.weighted(layer, image.tensor, [weights.transpose(2, 3, 1, 0), bias])
    crops = []
    for axis, window in enumerate(windows):
        first, size = _transposed_span(step, window, axis)
        behind = int(tensor.shape[axis + 1]) - first - size
        if behind < 0 or first < 0:
            raise step.refuse("its output reaches beyond what the kernel covers (output_padding)")
        crops.append((first, behind))
    if any(map(sum, crops)):
        tensor = step.layer("Cropping2D", tuple(crops), role="crop", **_LAST)(tensor)
    return [step.result(tensor, CHANNELS_LAST, image)]


def _transposed_span(step: Step, window: Window, axis: int) -> Pads:
    """Where in the whole transposed convolution its output begins, and its size."""
    added = int(step.attributes.get("output_padding", [0, 0])[axis])
    whole = window.stride * (window.size - 1) + added + window.reach
    auto_pad = step.attributes.get("auto_pad", "NOTSET")
    asked = step.attributes.get("output_shape")
    if asked is None and auto_pad in ("NOTSET", "VALID"):
        first, behind = resolve_pads([window], _axis_pads(step, axis), auto_pad)[0]
        return first, whole - first - behind
    size = window.size * window.stride if asked is None else int(asked[-2:][axis])
    total = max(whole - size, 0)
    return (total // 2 if auto_pad == "SAME_UPPER" else total - total // 2), size


def _axis_pads(step: Step, axis: int) -> List[int]:
    pads = step.attributes.get("pads", [0, 0, 0, 0])
    return [pads[axis], pads[axis + 2]]


def _pool_windows(step: Step, image: Flow) -> Tuple[List[Window], List[Pads], List[int]]:
    """Windows, pads, and what `ceil_mode` adds behind them."""
    windows = _windows(step, image, step.attributes["kernel_shape"])
    pads = _pads(step, windows)
    ceil = step.attributes.get("ceil_mode", 0)
    extra = [window.ceil_extra(pad) if ceil else 0 for window, pad in zip(windows, pads)]
    return windows, pads, extra


def _pool_settings(windows: Sequence[Window]) -> Dict[str, Any]:
    return {
        "pool_size": tuple(window.kernel for window in windows),
        "strides": tuple(window.stride for window in windows),
        **_LAST,
    }


def _max_pool(step: Step) -> List[Value]:
    if len([name for name in step.node.output if name]) > 1:
        raise step.refuse("the indices of the largest elements are asked for")
    image = step.image()
    windows, pads, extra = _pool_windows(step, image)
    if any(window.dilation != 1 for window in windows):
        raise step.refuse(f"dilations {step.attributes['dilations']}; Keras has none in pooling")
    padded = [(first, last + more) for (first, last), more in zip(pads, extra)]
    padding, tensor = keras_padding(windows, padded), image.tensor
    if padding == "explicit":
        value = 0.0 if image.nonnegative else _LOWEST
        tensor, padding = _pad_image(step, tensor, padded, value), "valid"
    layer = step.layer("MaxPooling2D", padding=padding, **_pool_settings(windows))
    result = step.result(layer(tensor), CHANNELS_LAST, image, nonnegative=image.nonnegative)
    return [result]


def _average_pool(step: Step) -> List[Value]:
    image = step.image()
    windows, pads, extra = _pool_windows(step, image)
    if any(window.dilation != 1 for window in windows):
        raise step.refuse(f"dilations {step.attributes['dilations']}; Keras has none in pooling")
    include = bool(step.attributes.get("count_include_pad", 0))
    counts = [
        window.counts(pad, more, include_pad=include)
        for window, pad, more in zip(windows, pads, extra)
    ]
    padded = [(first, last + more) for (first, last), more in zip(pads, extra)]
    tensor = _pad_image(step, image.tensor, padded)
    layer = step.layer("AveragePooling2D", padding="valid", **_pool_settings(windows))
    tensor = layer(tensor)
    # Engines differ in what "same" averages over at the edges; a mean over zeros, corrected, is
    # the same on all of them.
    full = windows[0].kernel * windows[1].kernel
    factors = np.divide(full, np.multiply.outer(*counts), dtype=np.float64)
    if (factors != 1).any():
        correction = factors.astype(np.float32)[None, :, :, None]
        tensor = step.op("multiply")(tensor, correction)
    return [step.result(tensor, CHANNELS_LAST, image, nonnegative=image.nonnegative)]


def _global(kind: str) -> Operator:
    def pool(step: Step) -> List[Value]:
        image = step.image()
        layer = step.layer(f"Global{kind}Pooling2D", keepdims=True, **_LAST)
        tensor = layer(image.tensor)
        return [step.result(tensor, CHANNELS_LAST, image, nonnegative=image.nonnegative)]

    return pool


def global_average(step: Step, image: Flow, *, keepdims: bool) -> Optional[Any]:
    """The mean over an image in channels-last layout, as the layer that is made for it."""
    if image.axes != CHANNELS_LAST:
        return None
    return step.layer("GlobalAveragePooling2D", keepdims=keepdims, **_LAST)(image.tensor)


OPERATORS: Dict[str, Operator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global("Average"),
    "GlobalMaxPool": _global("Max"),
}
"""The functions by the operators that they convert."""
