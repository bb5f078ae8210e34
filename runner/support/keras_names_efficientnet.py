"""EfficientNet-B0: torchvision's names beside the layers of Keras."""

from __future__ import annotations

from typing import Iterator

from runner.support.keras_names_rows import Row

_REPEATS = (1, 2, 2, 3, 3, 4, 1)


def rows(major: int) -> Iterator[Row]:  # noqa: ARG001 (Keras 2 and 3 name these layers alike)
    """`features.2.0.block.…` is Keras's `block2a_…`."""
    yield Row("stem_conv", "conv", "features.0.0")
    yield Row("stem_bn", "norm", "features.0.1")
    for stage, repeats in enumerate(_REPEATS):
        for block in range(repeats):
            prefix = f"block{stage + 1}{'abcd'[block]}_"
            source, place = f"features.{stage + 1}.{block}.block", 0
            # The first stage does not expand, so that its parts are one place further ahead.
            if stage:
                yield Row(f"{prefix}expand_conv", "conv", f"{source}.0.0")
                yield Row(f"{prefix}expand_bn", "norm", f"{source}.0.1")
                place = 1
            yield Row(f"{prefix}dwconv", "depthwise", f"{source}.{place}.0")
            yield Row(f"{prefix}bn", "norm", f"{source}.{place}.1")
            yield Row(f"{prefix}se_reduce", "conv", f"{source}.{place + 1}.fc1")
            yield Row(f"{prefix}se_expand", "conv", f"{source}.{place + 1}.fc2")
            yield Row(f"{prefix}project_conv", "conv", f"{source}.{place + 2}.0")
            yield Row(f"{prefix}project_bn", "norm", f"{source}.{place + 2}.1")
    yield Row("top_conv", "conv", "features.8.0")
    yield Row("top_bn", "norm", "features.8.1")
    yield Row("predictions", "linear", "classifier.1")
