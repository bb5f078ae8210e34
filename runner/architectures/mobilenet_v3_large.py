"""MobileNetV3-Large, https://arxiv.org/abs/1905.02244."""

from __future__ import annotations

import re

from runner.architectures import base

_TIMM = {
    "conv_stem": "features.0.0",
    "bn1": "features.0.1",
    "blocks.6.0.conv": "features.16.0",
    "blocks.6.0.bn1": "features.16.1",
    "conv_head": "classifier.0",
    "classifier": "classifier.3",
}
_PARTS = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "conv_pwl": "2.0",
    "bn3": "2.1",
}
_SQUEEZE_PARTS = {
    **_PARTS,
    "se.conv_reduce": "2.fc1",
    "se.conv_expand": "2.fc2",
    "conv_pwl": "3.0",
    "bn3": "3.1",
}
_FIRST_PARTS = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1.0", "bn2": "1.1"}
_STAGE_STARTS = (1, 2, 4, 7, 11, 13)
_SQUEEZED = (4, 5, 6, 11, 12, 13, 14, 15)
"""The blocks that squeeze and excite."""


def _alias(name: str) -> str:
    prefix, own = base.split(name)
    prefix = _TIMM.get(prefix, prefix)
    named = re.fullmatch(r"blocks\.([0-5])\.(\d+)\.([\w.]+)", prefix)
    if named:
        stage, part = int(named.group(1)), named.group(3)
        number = _STAGE_STARTS[stage] + int(named.group(2))
        parts = _SQUEEZE_PARTS if number in _SQUEEZED else _PARTS if stage else _FIRST_PARTS
        prefix = f"features.{number}.block.{parts.get(part, part)}"
    return f"{prefix}.{own}"


def _biased(prefix: str) -> bool:
    return prefix.startswith("classifier.") or prefix.endswith((".fc1", ".fc2"))


ARCHITECTURE = base.Architecture(
    name="mobilenet_v3_large",
    library="torchvision",
    builder="mobilenet_v3_large",
    timm="mobilenetv3_large_100",
    timm_only="conv_stem.weight",
    keras="MobileNetV3Large",
    size=224,
    head="classifier.3",
    variants=(base.padding("symmetric", "same"), base.batch_norm_epsilon(1e-3, 1e-3, timm=1e-5)),
    norm_of=lambda prefix: base.next_number(prefix) if prefix.startswith("features.") else None,
    biased=_biased,
    alias=_alias,
)
