"""InceptionV3: torchvision's names beside the layers of Keras.

Keras gives its convolutions no names of their own, so they are `conv2d`, `conv2d_1`, … in the order
in which they are made; torchvision's are listed in that order here. torchvision's auxiliary head
is for training and Keras has none: `AuxLogits.…` is left out.
"""

from __future__ import annotations

from typing import Iterator, Tuple

from runner.support.keras_names_rows import Row

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
_DOUBLE = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
_SEVEN = ("branch7x7_1", "branch7x7_2", "branch7x7_3")
_SEVEN_DOUBLE = tuple(f"branch7x7dbl_{part}" for part in (1, 2, 3, 4, 5))
_A = ("branch1x1", "branch5x5_1", "branch5x5_2", *_DOUBLE, "branch_pool")
_B = ("branch3x3", *_DOUBLE)
_C = ("branch1x1", *_SEVEN, *_SEVEN_DOUBLE, "branch_pool")
_D = ("branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{part}" for part in (1, 2, 3, 4)))
_E = (
    "branch1x1",
    "branch3x3_1",
    "branch3x3_2a",
    "branch3x3_2b",
    "branch3x3dbl_1",
    "branch3x3dbl_2",
    "branch3x3dbl_3a",
    "branch3x3dbl_3b",
    "branch_pool",
)
_MIXED: Tuple[Tuple[str, Tuple[str, ...]], ...] = (
    ("Mixed_5b", _A),
    ("Mixed_5c", _A),
    ("Mixed_5d", _A),
    ("Mixed_6a", _B),
    ("Mixed_6b", _C),
    ("Mixed_6c", _C),
    ("Mixed_6d", _C),
    ("Mixed_6e", _C),
    ("Mixed_7a", _D),
    ("Mixed_7b", _E),
    ("Mixed_7c", _E),
)


def rows(major: int) -> Iterator[Row]:  # noqa: ARG001 (Keras 2 and 3 name these layers alike)
    """`Mixed_5b.branch1x1.conv`, `….bn`."""
    sources = [*_STEM, *(f"{block}.{branch}" for block, parts in _MIXED for branch in parts)]
    for place, source in enumerate(sources):
        ending = f"_{place}" if place else ""
        yield Row(f"conv2d{ending}", "conv", f"{source}.conv")
        yield Row(f"batch_normalization{ending}", "norm", f"{source}.bn")
    yield Row("predictions", "linear", "fc")
