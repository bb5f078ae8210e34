"""MobileNetV2, https://arxiv.org/abs/1801.04381."""

from __future__ import annotations

import re

from runner.architectures import base

_FOLDED = {
    "stem": "features.0.0",
    "head": "features.18.0",
    "classifier": "classifier.1",
}
_TIMM = {
    "conv_stem": "features.0.0",
    "bn1": "features.0.1",
    "conv_head": "features.18.0",
    "bn2": "features.18.1",
}
_PARTS = {"expand": "0.0", "depthwise": "1.0", "project": "2"}
_FIRST_PARTS = {"depthwise": "0.0", "project": "1"}
_TIMM_PARTS = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "conv_pwl": "2",
    "bn3": "3",
}
_TIMM_FIRST_PARTS = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
_STAGE_STARTS = (1, 2, 4, 7, 11, 14, 17)


def _alias(name: str) -> str:
    prefix, own = base.split(name)
    prefix = _FOLDED.get(prefix, _TIMM.get(prefix, prefix))
    folded = re.fullmatch(r"blocks\.(\d+)\.(expand|depthwise|project)", prefix)
    if folded:
        number = int(folded.group(1))
        parts = _PARTS if number else _FIRST_PARTS
        prefix = f"features.{number + 1}.conv.{parts.get(folded.group(2), folded.group(2))}"
    named = re.fullmatch(r"blocks\.([0-6])\.(\d+)\.(\w+)", prefix)
    if named:
        stage = int(named.group(1))
        parts = _TIMM_PARTS if stage else _TIMM_FIRST_PARTS
        number = _STAGE_STARTS[stage] + int(named.group(2))
        prefix = f"features.{number}.conv.{parts.get(named.group(3), named.group(3))}"
    return f"{prefix}.{own}"


def _biased(prefix: str) -> bool:
    return prefix == "classifier.1"


ARCHITECTURE = base.Architecture(
    name="mobilenet_v2",
    library="torchvision",
    builder="mobilenet_v2",
    timm="mobilenetv2_100",
    timm_only="conv_stem.weight",
    keras="MobileNetV2",
    size=224,
    head="classifier.1",
    variants=(
        base.padding("symmetric", "same"),
        base.batch_norm_epsilon(1e-5, 1e-3),
        base.Variant("activation", ("relu6", "relu"), "relu6", "relu6"),
    ),
    norm_of=lambda prefix: base.next_number(prefix) if prefix.startswith("features.") else None,
    biased=_biased,
    alias=_alias,
)
