"""EfficientNet-B0, https://arxiv.org/abs/1905.11946."""

from __future__ import annotations

import re

from runner.architectures import base

_TIMM = {
    "conv_stem": "features.0.0",
    "bn1": "features.0.1",
    "conv_head": "features.8.0",
    "bn2": "features.8.1",
    "classifier": "classifier.1",
}
_PARTS = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "se.conv_reduce": "2.fc1",
    "se.conv_expand": "2.fc2",
    "conv_pwl": "3.0",
    "bn3": "3.1",
}
_FIRST_PARTS = {
    "conv_dw": "0.0",
    "bn1": "0.1",
    "se.conv_reduce": "1.fc1",
    "se.conv_expand": "1.fc2",
    "conv_pw": "2.0",
    "bn2": "2.1",
}


def _alias(name: str) -> str:
    prefix, own = base.split(name)
    prefix = _TIMM.get(prefix, prefix)
    named = re.fullmatch(r"blocks\.([0-6])\.(\d+)\.([\w.]+)", prefix)
    if named:
        stage, block, part = int(named.group(1)), named.group(2), named.group(3)
        parts = _PARTS if stage else _FIRST_PARTS
        prefix = f"features.{stage + 1}.{block}.block.{parts.get(part, part)}"
    return f"{prefix}.{own}"


def _biased(prefix: str) -> bool:
    return prefix == "classifier.1" or prefix.endswith((".fc1", ".fc2"))


ARCHITECTURE = base.Architecture(
    name="efficientnet_b0",
    library="torchvision",
    builder="efficientnet_b0",
    timm="efficientnet_b0",
    timm_only="conv_stem.weight",
    keras="EfficientNetB0",
    size=224,
    head="classifier.1",
    variants=(base.padding("symmetric", "same"), base.batch_norm_epsilon(1e-5, 1e-3)),
    norm_of=lambda prefix: base.next_number(prefix) if prefix.startswith("features.") else None,
    biased=_biased,
    alias=_alias,
)
