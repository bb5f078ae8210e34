"""ResNet-50 and ResNet101V2: the names of torchvision and timm beside the layers of Keras."""

from __future__ import annotations

from typing import Iterator

from runner.support.keras_names_rows import Row

DEPTHS_50 = (3, 4, 6, 3)
DEPTHS_101 = (3, 4, 23, 3)
"""Blocks of each stage."""


def v1_50(major: int) -> Iterator[Row]:  # noqa: ARG001 (Keras 2 and 3 name these layers alike)
    """ResNet-50: torchvision's `layer1.0.conv1`. Its convolutions have a bias in Keras alone."""
    yield Row("conv1_conv", "conv", "conv1")
    yield Row("conv1_bn", "norm", "bn1")
    for stage, depth in enumerate(DEPTHS_50):
        for block in range(depth):
            prefix, source = f"conv{stage + 2}_block{block + 1}", f"layer{stage + 1}.{block}"
            if block == 0:
                yield Row(f"{prefix}_0_conv", "conv", f"{source}.downsample.0")
                yield Row(f"{prefix}_0_bn", "norm", f"{source}.downsample.1")
            for part in (1, 2, 3):
                yield Row(f"{prefix}_{part}_conv", "conv", f"{source}.conv{part}")
                yield Row(f"{prefix}_{part}_bn", "norm", f"{source}.bn{part}")
    yield Row("predictions", "linear", "fc")


def v2_101(major: int) -> Iterator[Row]:  # noqa: ARG001 (as above)
    """ResNet101V2: timm's `stages.0.blocks.0.conv1`, whose head is a convolution."""
    yield Row("conv1_conv", "conv", "stem.conv")
    for stage, depth in enumerate(DEPTHS_101):
        for block in range(depth):
            prefix = f"conv{stage + 2}_block{block + 1}"
            source = f"stages.{stage}.blocks.{block}"
            if block == 0:
                yield Row(f"{prefix}_0_conv", "conv", f"{source}.downsample.conv")
            yield Row(f"{prefix}_preact_bn", "norm", f"{source}.norm1")
            yield Row(f"{prefix}_1_conv", "conv", f"{source}.conv1")
            yield Row(f"{prefix}_1_bn", "norm", f"{source}.norm2")
            yield Row(f"{prefix}_2_conv", "conv", f"{source}.conv2")
            yield Row(f"{prefix}_2_bn", "norm", f"{source}.norm3")
            yield Row(f"{prefix}_3_conv", "conv", f"{source}.conv3")
    yield Row("post_bn", "norm", "norm")
    yield Row("predictions", "conv_as_linear", "head.fc")
