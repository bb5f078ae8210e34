"""MobileNetV2 and MobileNetV3-Large: torchvision's names beside the layers of Keras."""

from __future__ import annotations

from typing import Iterator

from runner.support.keras_names_rows import Row

_V2_BLOCKS = 17
_V3_BLOCKS = 15
_V3_SQUEEZED = (3, 4, 5, 10, 11, 12, 13, 14)
"""Blocks of MobileNetV3-Large that squeeze and excite."""


def v2(major: int) -> Iterator[Row]:  # noqa: ARG001 (Keras 2 and 3 name these layers alike)
    """MobileNetV2: `features.N.conv.…`."""
    yield Row("Conv1", "conv", "features.0.0")
    yield Row("bn_Conv1", "norm", "features.0.1")
    for block in range(_V2_BLOCKS):
        prefix = f"block_{block}_" if block else "expanded_conv_"
        source = f"features.{block + 1}.conv"
        # The first block does not expand, so that its parts are one place further ahead.
        place = 1 if block else 0
        if block:
            yield Row(f"{prefix}expand", "conv", f"{source}.0.0")
            yield Row(f"{prefix}expand_BN", "norm", f"{source}.0.1")
        yield Row(f"{prefix}depthwise", "depthwise", f"{source}.{place}.0")
        yield Row(f"{prefix}depthwise_BN", "norm", f"{source}.{place}.1")
        yield Row(f"{prefix}project", "conv", f"{source}.{place + 1}")
        yield Row(f"{prefix}project_BN", "norm", f"{source}.{place + 2}")
    yield Row("Conv_1", "conv", "features.18.0")
    yield Row("Conv_1_bn", "norm", "features.18.1")
    yield Row("predictions", "linear", "classifier.1")


def v3_large(major: int) -> Iterator[Row]:
    """MobileNetV3-Large: `features.N.block.…`.

    Keras 2 writes `expanded_conv_1/expand/BatchNorm` where Keras 3 writes
    `expanded_conv_1_expand_bn`.
    """
    old = major < 3
    slash, norm = ("/", "/BatchNorm") if old else ("_", "_bn")
    stem, last, head, logits = (
        ("Conv", "Conv_1", "Conv_2", "Logits") if old else ("conv", "conv_1", "conv_2", "logits")
    )
    reduce, expand = ("Conv", "Conv_1") if old else ("conv", "conv_1")
    yield Row(stem, "conv", "features.0.0")
    yield Row(stem + norm, "norm", "features.0.1")
    for block in range(_V3_BLOCKS):
        prefix = (f"expanded_conv_{block}" if block else "expanded_conv") + slash
        source, place = f"features.{block + 1}.block", 0
        if block:
            yield Row(f"{prefix}expand", "conv", f"{source}.0.0")
            yield Row(f"{prefix}expand{norm}", "norm", f"{source}.0.1")
            place += 1
        yield Row(f"{prefix}depthwise", "depthwise", f"{source}.{place}.0")
        yield Row(f"{prefix}depthwise{norm}", "norm", f"{source}.{place}.1")
        place += 1
        if block in _V3_SQUEEZED:
            squeezed = f"{prefix}squeeze_excite{slash}"
            yield Row(squeezed + reduce, "conv", f"{source}.{place}.fc1")
            yield Row(squeezed + expand, "conv", f"{source}.{place}.fc2")
            place += 1
        yield Row(f"{prefix}project", "conv", f"{source}.{place}.0")
        yield Row(f"{prefix}project{norm}", "norm", f"{source}.{place}.1")
    yield Row(last, "conv", "features.16.0")
    yield Row(last + norm, "norm", "features.16.1")
    yield Row(head, "linear_as_conv", "classifier.0")
    yield Row(logits, "linear_as_conv", "classifier.3")
