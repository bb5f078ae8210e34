"""Makes a library's PyTorch module compute what another framework's module of it computes.

Every change leaves the names of the arrays as they are, and a key that is absent changes nothing.
"""

from __future__ import annotations

import types
from typing import Any, Callable, Dict, Mapping, Tuple

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from runner.architectures import Value

_INCEPTION_BLOCKS = ("InceptionA", "InceptionC", "InceptionE")
"""Torchvision's and timm's blocks that average with padding."""


def apply(module: Any, values: Mapping[str, Value]) -> None:
    """Change the module in place, in all ways that are named.

    Args:
        module: from torchvision or timm.
        values: key to value, as `effective` has checked them.
    """
    for key, value in values.items():
        _CHANGES[key](module, value)


def _pad_as_tensorflow(module: Any, value: Value) -> None:
    if value != "same":
        return
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d) and max(layer.stride) > 1 and max(layer.padding):
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(_pad_same)


def _pad_same(layer: Any, args: Tuple[Any, ...]) -> Tuple[Any, ...]:
    sides = [
        same_padding(size, kernel, stride)
        for size, kernel, stride in zip(args[0].shape[2:], layer.kernel_size, layer.stride)
    ]
    return (functional.pad(args[0], (*sides[1], *sides[0])),)


def same_padding(size: int, kernel: int, stride: int) -> Tuple[int, int]:
    """Zeros before and after one axis for TensorFlow's padding SAME.

    The output has ceil(size / stride) items, and an odd zero goes to the end; see
    https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2.

    Args:
        size: of the axis.
        kernel: items that the window spans.
        stride: items from one window to the next.
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _set_epsilon(module: Any, value: Value) -> None:
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = float(value)


def _set_activation(module: Any, value: Value) -> None:
    if value != "relu":
        return
    for layer in list(module.modules()):
        for name, child in layer.named_children():
            if isinstance(child, torch.nn.ReLU6):
                setattr(layer, name, torch.nn.ReLU(inplace=child.inplace))


def _set_stride(module: Any, value: Value) -> None:
    for stage in (module.layer2, module.layer3, module.layer4):
        first, second = stage[0].conv1, stage[0].conv2
        stride = max(first.stride, second.stride)
        first.stride, second.stride = (stride, (1, 1)) if value == "first" else ((1, 1), stride)


def _set_max_pool(module: Any, value: Value) -> None:
    if value == "ceil":
        module.maxpool.padding, module.maxpool.ceil_mode = 0, True
    elif value == "zeros":
        module.stem.pool.register_forward_pre_hook(_pad_zeros)
        module.stem.pool.padding = 0


def _pad_zeros(layer: Any, args: Tuple[Any, ...]) -> Tuple[Any, ...]:
    del layer
    return (functional.pad(args[0], (1, 1, 1, 1)),)


def _set_downsampling(module: Any, value: Value) -> None:
    """`last`: as keras.applications, stages 1 to 3 of four end with stride 2, and none begins so."""
    if value != "last":
        return
    for stage in module.stages:
        stage.blocks[0].conv2.stride = (1, 1)
        stage.blocks[0].downsample.conv.stride = (1, 1)
    for stage in module.stages[:-1]:
        last = stage.blocks[-1]
        last.conv2.stride = (2, 2)
        last.forward = types.MethodType(_forward_subsampled, last)


def _forward_subsampled(block: Any, x: Any) -> Any:
    """A pre-activation bottleneck whose shortcut is every second item of its input."""
    shortcut = functional.max_pool2d(x, kernel_size=1, stride=2)
    x = block.conv1(block.norm1(x))
    x = block.conv2(block.norm2(x))
    return block.conv3(block.norm3(x)) + shortcut


def _set_average_pool(module: Any, value: Value) -> None:
    if value != "excluded":
        return
    for layer in module.modules():
        if type(layer).__name__ in _INCEPTION_BLOCKS:
            layer.forward = _without_zeros(layer.forward)


def _without_zeros(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def excluding(x: Any) -> Any:
        with _ZerosExcluded():
            return forward(x)

    return excluding


class _ZerosExcluded(TorchFunctionMode):
    """Averages over what is there: the pooling is a call inside the block and no layer of it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = dict(kwargs or {})
        if func is functional.avg_pool2d:
            kwargs["count_include_pad"] = False
        return func(*args, **kwargs)


_CHANGES: Dict[str, Callable[[Any, Value], None]] = {
    "padding": _pad_as_tensorflow,
    "batch_norm_epsilon": _set_epsilon,
    "activation": _set_activation,
    "stride": _set_stride,
    "max_pool": _set_max_pool,
    "downsampling": _set_downsampling,
    "average_pool": _set_average_pool,
}
