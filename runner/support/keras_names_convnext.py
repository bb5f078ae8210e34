"""ConvNeXt-Tiny: torchvision's names beside the layers of Keras."""

from __future__ import annotations

from typing import Iterator

from runner.support.keras_names_rows import Row

_PREFIX = "convnext_tiny_"
_DEPTHS = (3, 3, 9, 3)


def rows(major: int) -> Iterator[Row]:  # noqa: ARG001 (Keras 2 and 3 name these layers alike)
    """`features.1.0.block.0` is the depthwise convolution of the first block of stage 0."""
    yield Row(f"{_PREFIX}stem_conv", "conv", "features.0.0")
    yield Row(f"{_PREFIX}stem_layernorm", "layer_norm", "features.0.1")
    for stage, depth in enumerate(_DEPTHS):
        if stage:
            source = f"features.{2 * stage}"
            yield Row(f"{_PREFIX}downsampling_layernorm_{stage - 1}", "layer_norm", f"{source}.0")
            yield Row(f"{_PREFIX}downsampling_conv_{stage - 1}", "conv", f"{source}.1")
        for block in range(depth):
            prefix = f"{_PREFIX}stage_{stage}_block_{block}_"
            source = f"features.{2 * stage + 1}.{block}"
            yield Row(f"{prefix}depthwise_conv", "conv", f"{source}.block.0")
            yield Row(f"{prefix}layernorm", "layer_norm", f"{source}.block.2")
            yield Row(f"{prefix}pointwise_conv_1", "linear", f"{source}.block.3")
            yield Row(f"{prefix}pointwise_conv_2", "linear", f"{source}.block.5")
            yield Row(f"{prefix}layer_scale", "scale", f"{source}.layer_scale")
    yield Row(f"{_PREFIX}head_layernorm", "layer_norm", "classifier.0")
    yield Row(f"{_PREFIX}head_dense", "linear", "classifier.2")
