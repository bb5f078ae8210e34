"""ResNet101V2, pre-activation, https://arxiv.org/abs/1603.05027."""

from __future__ import annotations

import re
from typing import Optional

from runner.architectures import base


def _norm_of(prefix: str) -> Optional[str]:
    found = re.fullmatch(r"(stages\.\d\.blocks\.\d+\.)conv([12])", prefix)
    return f"{found.group(1)}norm{int(found.group(2)) + 1}" if found else None


ARCHITECTURE = base.Architecture(
    name="resnet101_v2",
    library="timm",
    builder="resnetv2_101",
    timm="resnetv2_101",
    keras="ResNet101V2",
    size=224,
    head="head.fc",
    variants=(
        base.Variant("downsampling", ("first", "last"), "first", "last"),
        # Keras pads with zeros before it pools, and nothing has made the values positive there.
        base.Variant("max_pool", ("symmetric", "zeros"), "symmetric", "zeros"),
        base.batch_norm_epsilon(1e-5, 1.001e-5),
    ),
    norm_of=_norm_of,
    biased=lambda prefix: prefix == "head.fc",
    alias=base.same_name,
)
