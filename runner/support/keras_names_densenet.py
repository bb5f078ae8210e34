"""DenseNet-121: torchvision's names beside the layers of Keras."""

from __future__ import annotations

from typing import Iterator

from runner.support.keras_names_rows import Row

_DEPTHS = (6, 12, 24, 16)


def rows(major: int) -> Iterator[Row]:
    """`features.denseblock1.denselayer1.…`; Keras 2 writes `conv1/conv` for the first layer."""
    slash = "/" if major < 3 else "_"
    yield Row(f"conv1{slash}conv", "conv", "features.conv0")
    yield Row(f"conv1{slash}bn", "norm", "features.norm0")
    for stage, depth in enumerate(_DEPTHS):
        for block in range(depth):
            prefix = f"conv{stage + 2}_block{block + 1}"
            source = f"features.denseblock{stage + 1}.denselayer{block + 1}"
            yield Row(f"{prefix}_0_bn", "norm", f"{source}.norm1")
            yield Row(f"{prefix}_1_conv", "conv", f"{source}.conv1")
            yield Row(f"{prefix}_1_bn", "norm", f"{source}.norm2")
            yield Row(f"{prefix}_2_conv", "conv", f"{source}.conv2")
        if stage + 1 < len(_DEPTHS):
            source = f"features.transition{stage + 1}"
            yield Row(f"pool{stage + 2}_bn", "norm", f"{source}.norm")
            yield Row(f"pool{stage + 2}_conv", "conv", f"{source}.conv")
    yield Row("bn", "norm", "features.norm5")
    yield Row("predictions", "linear", "classifier")
