"""SqueezeNet 1.1, https://arxiv.org/abs/1602.07360."""

from __future__ import annotations

from runner.architectures import base

_FOLDED = {
    "conv1": "features.0",
    "fire2": "features.3",
    "fire3": "features.4",
    "fire4": "features.6",
    "fire5": "features.7",
    "fire6": "features.9",
    "fire7": "features.10",
    "fire8": "features.11",
    "fire9": "features.12",
    "conv10": "classifier.1",
}


def _alias(name: str) -> str:
    start, dot, rest = name.partition(".")
    return f"{_FOLDED.get(start, start)}{dot}{rest}"


ARCHITECTURE = base.Architecture(
    name="squeezenet1_1",
    library="torchvision",
    builder="squeezenet1_1",
    timm=None,
    keras=None,
    size=224,
    head="classifier.1",
    variants=(),
    norm_of=base.no_norm,
    biased=lambda _: True,
    alias=_alias,
)
