"""ResNet-50, https://arxiv.org/abs/1512.03385."""

from __future__ import annotations

import re
from typing import Optional

from runner.architectures import base


def _norm_of(prefix: str) -> Optional[str]:
    if prefix.endswith("downsample.0"):
        return prefix[:-1] + "1"
    found = re.fullmatch(r"((?:layer\d\.\d+\.)?)conv(\d)", prefix)
    return f"{found.group(1)}bn{found.group(2)}" if found else None


ARCHITECTURE = base.Architecture(
    name="resnet50",
    library="torchvision",
    builder="resnet50",
    timm="resnet50",
    keras="ResNet50",
    size=224,
    head="fc",
    variants=(
        base.Variant("stride", ("first", "second"), "second", "first"),
        base.Variant("max_pool", ("symmetric", "ceil"), "symmetric", "symmetric"),
        base.batch_norm_epsilon(1e-5, 1.001e-5),
    ),
    norm_of=_norm_of,
    biased=lambda prefix: prefix == "fc",
    alias=base.same_name,
)
