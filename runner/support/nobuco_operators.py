"""What nobuco 0.17 lacks or gets wrong: batch normalisation and pooling as functions.

It converts the module BatchNorm2d and not the function, and its pooling leaves out `ceil_mode`,
`dilation`, `count_include_pad` and `divisor_override` without a word.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Callable, Optional, Sequence, Tuple

import torch
from torch.nn import functional

from runner.errors import RunnerError

Pair = Tuple[int, int]


def register() -> None:
    """Hand these to nobuco, which must have been imported; for this process."""
    nobuco, keras = import_module("nobuco"), import_module("keras")
    channels_last = nobuco.ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER

    @nobuco.converter(functional.batch_norm, channel_ordering_strategy=channels_last)
    def batch_norm(
        fed: Any,
        mean: Any,
        variance: Any,
        weight: Optional[Any] = None,
        bias: Optional[Any] = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Callable[..., Any]:
        del fed, training
        held = [one for one in (weight, bias, mean, variance) if one is not None]
        layer = keras.layers.BatchNormalization(
            momentum=1 - momentum,
            epsilon=eps,
            scale=weight is not None,
            center=bias is not None,
            weights=[one.detach().numpy() for one in held],
        )
        return lambda fed, *_, **__: layer(fed)

    @nobuco.converter(
        functional.max_pool2d, torch.max_pool2d, channel_ordering_strategy=channels_last
    )
    def max_pool(fed: Any, size: Pair, stride: Pair, padding: Pair, *_: Any) -> Callable[..., Any]:
        del fed, padding
        layer = keras.layers.MaxPool2D(pool_size=size, strides=stride)
        return lambda fed, *_, **__: layer(fed)

    @nobuco.converter(functional.avg_pool2d, channel_ordering_strategy=channels_last)
    def average_pool(fed: Any, size: Pair, stride: Pair, *_: Any) -> Callable[..., Any]:
        del fed
        layer = keras.layers.AvgPool2D(pool_size=size, strides=stride)
        return lambda fed, *_, **__: layer(fed)


def max_pool2d(
    fed: Any,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Any:
    """PyTorch's max pooling as padding with minus infinity, and pooling without any.

    Raises:
        RunnerError: kind `unsupported`, for a dilation.
    """
    if any(step != 1 for step in dilation):
        raise _refused("max_pool2d with a dilation")
    size, stride, padding = _pair(size), _pair(stride or size), _pair(padding)
    pads = _pads(fed.shape[2:], size, stride, padding, ceil_mode)
    if any(pads):
        fed = functional.pad(fed, pads, "constant", float("-inf"))
    return functional.max_pool2d(fed, size, stride, (0, 0))


def avg_pool2d(
    fed: Any,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Optional[int] = None,
) -> Any:
    """PyTorch's average pooling as padding with zeros, and pooling without any.

    Raises:
        RunnerError: kind `unsupported`, where a window is not divided by its whole size.
    """
    size, stride, padding = _pair(size), _pair(stride or size), _pair(padding)
    pads = _pads(fed.shape[2:], size, stride, padding, ceil_mode)
    if divisor_override not in (None, size[0] * size[1]):
        raise _refused("avg_pool2d with a divisor of its own")
    if any(pads) and not count_include_pad:
        raise _refused("avg_pool2d that leaves padding out of the mean")
    # What ceil_mode adds is never counted.
    if pads[1] > padding[1] or pads[3] > padding[0]:
        raise _refused("avg_pool2d with ceil_mode, where its last windows reach over the edge")
    if any(pads):
        fed = functional.pad(fed, pads, "constant", 0.0)
    return functional.avg_pool2d(fed, size, stride)


def _pads(
    sides: Sequence[int], size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Tuple[int, int, int, int]:
    """Left, right, top, bottom; with `ceil_mode` as much more as its last window needs."""
    after = list(padding)
    for axis, (side, window, step, pad) in enumerate(zip(sides, size, stride, padding)):
        whole = int(side) + 2 * pad
        rest = (whole - window) % step
        # A window that would begin in the padding after the input is dropped.
        begins = whole - window - rest + step
        if ceil_mode and rest and begins < int(side) + pad:
            after[axis] += step - rest
    return padding[1], after[1], padding[0], after[0]


def _pair(given: Sequence[int]) -> Pair:
    return (given[0], given[0]) if len(given) == 1 else (given[0], given[1])


def _refused(what: str) -> RunnerError:
    return RunnerError("unsupported", f"Keras has no layer for {what}: use another converter")
