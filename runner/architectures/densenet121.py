"""DenseNet-121, https://arxiv.org/abs/1608.06993."""

from __future__ import annotations

import re
from typing import Optional

from runner.architectures import base


def _norm_of(prefix: str) -> Optional[str]:
    if prefix == "features.conv0":
        return "features.norm0"
    found = re.fullmatch(r"(features\.denseblock\d\.denselayer\d+\.)conv1", prefix)
    return f"{found.group(1)}norm2" if found else None


def _alias(name: str) -> str:
    # The files that torchvision publishes write norm.1 for norm1.
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


ARCHITECTURE = base.Architecture(
    name="densenet121",
    library="torchvision",
    builder="densenet121",
    timm="densenet121",
    keras="DenseNet121",
    size=224,
    head="classifier",
    variants=(base.batch_norm_epsilon(1e-5, 1.001e-5),),
    norm_of=_norm_of,
    biased=lambda prefix: prefix == "classifier",
    alias=_alias,
)
